"""The control API: HTTP and JSON over a unix socket that only root may open, the same for the command line and for
scripts (`curl --unix-socket`). Paths begin with /v1; a refusal is `{"error": ..., "mend": ...}`."""
