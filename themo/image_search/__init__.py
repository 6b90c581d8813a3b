"""Picture search: an index of a folder's pictures, searched by Spanish texts."""
