"""General reference texts: Spanish names of subjects that photographs often show.

A picture's chance is that of a query against these texts (`themo.image_search.chance`). The subjects are
distinct.
"""

from __future__ import annotations

_NOUNS = """
un perro, un gato, un caballo, una vaca, una oveja, un cerdo, una gallina, un pato, un pájaro, un loro, un
búho, un pez, un tiburón, una ballena, un delfín, una tortuga, una serpiente, una rana, un cocodrilo, un
elefante, un león, un tigre, un oso, un lobo, un zorro, un ciervo, un conejo, una ardilla, un ratón, un
mono, una jirafa, una cebra, un camello, un pingüino, una mariposa, una abeja, una araña, un caracol, un
cangrejo, una medusa, un bebé, un niño, una niña, un hombre, una mujer, una pareja, una familia, una
multitud, un anciano, un soldado, un policía, un bombero, un médico, un cocinero, un músico, un pintor, un
payaso, una novia, una bailarina, un retrato, una selfi, unas manos, unos pies, un ojo, unas gafas, un
sombrero, unos zapatos, un vestido, un abrigo, una corbata, un bolso, una mochila, un paraguas, un reloj, un
anillo, un collar, una casa, un edificio, un rascacielos, una iglesia, una catedral, una mezquita, un
castillo, un puente, una torre, un faro, una fuente, una estatua, una plaza, una calle, un mercado, una
tienda, una escuela, un hospital, un museo, una fábrica, una granja, un molino, un estadio, una estación de
tren, un aeropuerto, un puerto, unas ruinas, una cocina, un baño, un dormitorio, una sala de estar, una
oficina, una biblioteca, una escalera, una ventana, una puerta, un balcón, un jardín, una piscina, un
garaje, una playa, el mar, una ola, una isla, un río, un lago, una cascada, una montaña, un volcán, un
valle, un desierto, un bosque, una selva, un prado, un campo de trigo, un viñedo, una cueva, un glaciar, un
paisaje nevado, una puesta de sol, un amanecer, el cielo, unas nubes, un arcoíris, una tormenta, un
relámpago, la luna, las estrellas, la niebla, fuegos artificiales, un incendio, un árbol, una palmera, una
flor, una rosa, un girasol, un cactus, unas hojas, una seta, hierba, un coche, un camión, un autobús, una
moto, una bicicleta, un tren, un tranvía, un avión, un helicóptero, un barco, un velero, una canoa, un
tractor, una ambulancia, un globo aerostático, un cohete, una pizza, una hamburguesa, una ensalada, una
sopa, pasta, arroz, pan, queso, un huevo, carne, pescado, marisco, una tarta, un helado, chocolate, una
manzana, un plátano, una naranja, unas uvas, una sandía, un tomate, una zanahoria, una patata, un café, una
taza de té, una copa de vino, una cerveza, una botella, una mesa, una silla, un sofá, una cama, una lámpara,
una alfombra, un espejo, un cuadro, una vela, un jarrón, un ordenador, un teclado, un teléfono, un
televisor, una cámara, una guitarra, un piano, un violín, un tambor, un libro, un periódico, un mapa, una
carta, un lápiz, unas tijeras, un martillo, una llave, una maleta, un juguete, un oso de peluche, un balón,
una cometa, un columpio, una bandera, un partido de fútbol, un partido de baloncesto, un partido de tenis,
una carrera, alguien que nada, alguien que esquía, alguien que hace surf, alguien que baila, alguien que
lee, alguien que duerme, alguien que come, una boda, un cumpleaños, una fiesta, un concierto, un desfile,
una manifestación, una reunión, un entierro, una captura de pantalla, un documento, una factura, una tabla,
un gráfico, un código QR, un cartel, un dibujo, una caricatura, un cuadro abstracto, un meme, un plano, una
pizarra
"""

SUBJECTS = tuple(name.strip() for name in _NOUNS.replace("\n", " ").split(","))
"""Names with an article where there is one."""

TEMPLATES = ("{}", "una foto de {}")
"""Texts of a name; their vectors are averaged."""


def subject_texts() -> list[tuple[str, ...]]:
    """Return the texts of each subject."""
    return [tuple(template.format(name) for template in TEMPLATES) for name in SUBJECTS]
