"""A web server with a worker process of its own, for tests of stopping. Run as a script."""

import http.server
import subprocess
import sys

if __name__ == "__main__":
    port = int(sys.argv[1])
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
