"""`httpx.get` and `httpx.post` for servers of this machine: without certificates, which take longer to read than all else."""

from functools import partial

import httpx

get = partial(httpx.get, verify=False)
post = partial(httpx.post, verify=False)
