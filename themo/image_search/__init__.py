"""Picture search: an index of the pictures in a folder, searched with Spanish texts."""
