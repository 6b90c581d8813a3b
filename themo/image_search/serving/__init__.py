"""The local page of ``search --serve``: a search box over a folder's pictures, in the browser.

The server is Starlette on uvicorn, which MLflow brings along: they parse HTTP, stream files by range and end
in order. Both are imported by a served search alone.
"""
