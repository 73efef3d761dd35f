"""What the shop sells, and when it is open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One thing on the shelf; its picture is ``static/<slug>.svg``."""

    slug: str
    name: str
    price: int  # pounds
    summary: str
    description: str
    picture: str  # what the picture shows
    sizes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


PRODUCTS = {
    product.slug: product
    for product in (
        Product(
            "drizzle-jacket",
            "Drizzle Jacket",
            129,
            "A rain jacket that breathes on the way up.",
            "Three layers, taped seams and a hood that turns with your head. Cut long enough for a "
            "bicycle saddle, and quiet enough for watching birds.",
            "A mustard yellow rain jacket with a hood and two pockets",
            ("XS", "S", "M", "L", "XL"),
            (("Fabric", "Recycled nylon"), ("Weight", "390 g"), ("Care", "30 °C, no softener")),
        ),
        Product(
            "larch-daypack",
            "Larch Daypack",
            86,
            "Eighteen litres, one big opening, no fuss.",
            "Holds a jumper, a lunch, a map and a book. The back panel keeps its shape, and the "
            "chest strap has a whistle.",
            "A green backpack with leather straps and a front pocket",
            ("One size",),
            (("Volume", "18 litres"), ("Weight", "620 g"), ("Fabric", "Waxed cotton")),
        ),
        Product(
            "tarn-flask",
            "Tarn Flask",
            28,
            "Tea that is still hot at the summit.",
            "A steel flask with a cup for a lid. Twelve hours hot, a whole day cold, and it "
            "survives being dropped on granite. We tried.",
            "A steel blue vacuum flask with a cup as its lid",
            ("0.5 l", "0.75 l"),
            (("Keeps hot", "12 hours"), ("Weight", "310 g"), ("Care", "Rinse by hand")),
        ),
        Product(
            "marsh-lantern",
            "Marsh Lantern",
            42,
            "A warm light for forty hours.",
            "Hangs in a tent, stands on a table and dims down to a candle. It charges from any "
            "phone plug.",
            "A camping lantern with a wire handle, glowing warmly",
            ("One size",),
            (("Light", "5 to 250 lumen"), ("Battery", "40 hours"), ("Weight", "280 g")),
        ),
        Product(
            "fellside-socks",
            "Fellside Socks",
            16,
            "Merino where it rubs, mesh where it sweats.",
            "Knitted in Yorkshire with a flat toe seam. Guaranteed for five years: if they wear "
            "out, you get new ones.",
            "A pair of rust red hiking socks with cream stripes",
            ("36 to 38", "39 to 41", "42 to 44", "45 to 47"),
            (("Yarn", "68 % merino"), ("Weight", "74 g a pair"), ("Care", "40 °C")),
        ),
        Product(
            "burrow-blanket",
            "Burrow Blanket",
            64,
            "For the bench, the beach and the back seat.",
            "Felted wool on one side, a waterproof backing on the other. Rolls up into its own "
            "strap.",
            "A rolled checked wool blanket held by two leather straps",
            ("One size",),
            (("Size", "140 by 180 cm"), ("Weight", "1.1 kg"), ("Fabric", "Recycled wool")),
        ),
    )
}

HOURS = (
    ("Tuesday to Friday", "10:00 to 18:00"),
    ("Saturday", "9:00 to 16:00"),
    ("Sunday and Monday", "closed"),
)

DELIVERY = (
    ("Collect in the shop", "the same day", "free"),
    ("United Kingdom", "2 to 3 working days", "£4, free from £60"),
    ("Europe", "5 to 7 working days", "£12"),
)

RETURN_DAYS = 60
