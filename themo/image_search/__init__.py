"""Search of pictures: an index of any folder, and what Spanish texts find in it."""
