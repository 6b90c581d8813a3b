"""Encode Spanish texts and images, and compare them."""

import themo

model = themo.load("logs/miniature/version_0")
texts = model.encode(["un perro en la playa", "dos círculos rojos"])  # (2, D)
image = model.encode_images("a.jpg")  # (D,)
print(model.similarity(texts, image))  # (2, 1) cosines
print(model.encode("un perro").shape)  # (D,): one text, one vector
