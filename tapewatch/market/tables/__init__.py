"""The platform's tables and the page that lists them; `tape` has the first of the tape and says how all are used."""
