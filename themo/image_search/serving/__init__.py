"""The local page of ``search --serve``: a search box over a folder's pictures, in the browser.

The server is Starlette on uvicorn, both dependencies of MLflow: they parse HTTP, stream files by range and
shut down in order. Only a served search imports them.
"""
