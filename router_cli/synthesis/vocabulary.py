"""The words that fill the slots of the query templates.

People, programmes, channels and spoken lines are invented; cities are real. Terms of a slot that
follows "a" in a template start with a consonant sound. Some terms are not ASCII on purpose.
"""

from collections.abc import Mapping

Vocabulary = Mapping[str, tuple[str, ...]]

PERSONS = (
    "Amina", "Bogdan", "Catarina", "Dmitri", "Esperanza", "Femi", "Gwendolyn", "Hiroshi",
    "Ilse", "Jarmila", "Kwame", "Leontyne", "Mateo", "Ngozi", "Oisín", "Parvati", "Quentin",
    "Rashida", "Søren", "Tomasz", "Umberto", "Valdís", "Wilhelmina", "Ximena", "Yusuf", "Zoë",
)  # fmt: skip

FIGURES = (
    "Marta Kolven", "Idris Lanegan", "Rosalind Tarrow", "Teodor Vasch", "Beatriz Amoedo",
    "Hugo Steenbergen", "Leila Haddadi", "Casimir Dunlop", "Noor van Ewijk", "Patience Oyelaran",
    "Gideon Marsh", "Sanna Kivelä", "Rafael Quispe", "Oona Brannigan", "Ludo Ferranti",
    "Mehmet Aksoyu", "Clara Whitlock", "Anselm Pryor",
)  # fmt: skip

CITIES = (
    "Lisbon", "Valparaíso", "Kraków", "Nairobi", "Hanoi", "Zürich", "São Luís", "Tbilisi",
    "Montréal", "Porto Novo", "Bergen", "Málaga", "Tallinn", "Osaka", "Dakar", "Galway",
    "Reykjavík", "Cusco", "Gdańsk", "Colombo",
)  # fmt: skip

EVENTS = (
    "regatta", "harvest fair", "budget hearing", "lantern parade", "county show",
    "chess olympiad", "film gala", "town hall meeting", "science night", "boat auction",
    "graduation ball", "street carnival", "robotics cup", "wool festival", "charity relay",
)  # fmt: skip

TOPICS = (
    "tidal energy", "bread prices", "school lunches", "coral bleaching", "night trains",
    "rent control", "bee decline", "quantum clocks", "glacier loss", "hospital waiting lists",
    "open borders", "fishing quotas", "data privacy", "forest fires", "vaccine research",
    "library closures", "pension reform", "space debris", "minority languages", "water rights",
)  # fmt: skip

SERIES = (
    "Harbour Lights", "The Ninth Keeper", "Salt & Iron", "Copper Valley", "Winter Shift",
    "Letters to Odile", "The Long Ferry", "Paper Lions", "Midnight Orchard", "Two Bridges",
    "Señora Niebla", "Glass Meridian", "The Quiet Bench", "Rook Takes Queen", "Ashes of Lund",
    "Kitchen 44",
)  # fmt: skip

SLOTS: Vocabulary = {
    "person": PERSONS,
    "figure": FIGURES,
    "city": CITIES,
    "event": EVENTS,
    "topic": TOPICS,
    "series": SERIES,
    "role": (
        "beekeeper", "ferry captain", "welder", "judge", "referee", "florist", "midwife",
        "lighthouse keeper", "bus driver", "violin maker", "goalkeeper", "mayor", "stuntman",
        "pastry chef", "paramedic", "sheep farmer", "trapeze artist", "crane operator",
    ),
    "action": (
        "folding laundry", "repairing a bicycle wheel", "kneading dough", "signing a contract",
        "climbing a rope ladder", "sharpening knives", "painting a fence", "feeding pigeons",
        "packing a suitcase", "shovelling snow", "stacking crates", "threading a needle",
        "planting tulips", "rowing backwards", "juggling oranges",
    ),
    "place": (
        "harbour", "vineyard", "tram depot", "rooftop garden", "salt mine", "fish market",
        "planetarium", "ski lift", "railway bridge", "monastery", "laundrette", "greenhouse",
        "quarry", "ballroom", "shipyard", "skate park", "lighthouse", "bazaar",
    ),
    "terrain": (
        "frozen lake", "gravel road", "tidal flat", "wheat field", "lava plain", "pine forest",
        "salt marsh", "mountain pass", "canyon floor", "peat bog", "dune ridge", "coral reef",
    ),
    "light": (
        "dawn", "noon", "dusk", "midnight", "golden hour", "blue hour", "full moon",
        "low winter sun",
    ),
    "weather": (
        "fog", "sleet", "hail", "heavy rain", "drifting snow", "a sandstorm", "lightning",
        "haze", "monsoon rain", "freezing drizzle",
    ),
    "animal": (
        "lynx", "stork", "badger", "pelican", "wild boar", "seal pup", "hedgehog", "reindeer",
        "magpie", "tortoise", "fox", "bat", "moose", "walrus", "gecko", "raven",
    ),
    "object": (
        "copper kettle", "rocking chair", "paper lantern", "typewriter", "brass compass",
        "wooden sled", "cracked mirror", "fishing net", "chess board", "porcelain vase",
        "tin robot", "sewing machine", "telescope", "birdcage", "marble bust",
    ),
    "colour": (
        "crimson", "turquoise", "mustard", "navy", "moss green", "pale pink", "silver",
        "violet", "burnt sienna", "teal", "chalk white", "jet black",
    ),
    "garment": (
        "raincoat", "kilt", "sari", "boiler suit", "top hat", "poncho", "wetsuit",
        "feather boa", "kimono", "beret", "waistcoat", "ball gown",
    ),
    "shot": (
        "drone shot", "tracking shot", "macro shot", "fisheye view", "slow pan",
        "freeze frame", "tilted wide shot", "silhouette",
    ),
    "sport": (
        "curling", "water polo", "fencing", "kabaddi", "speed skating", "handball", "judo",
        "rowing", "pelota", "biathlon", "futsal", "diving", "sumo", "hurling",
    ),
    "glyph": ("🐋", "🌋", "🎻", "🚲", "🌊", "🎈", "🦊", "🏔️", "🪁", "👩‍🚀", "🍜", "🚒"),
    "sound": (
        "foghorn", "church bells", "whistling kettle", "dripping tap", "hoofbeats",
        "applause", "thunderclap", "squeaky door", "car alarm", "crackling fire", "snoring",
        "hailstones", "typewriter clatter", "jet engine", "wind chimes", "fireworks",
        "baby giggles", "gunshots", "radio static", "footsteps on gravel",
    ),
    "machine": (
        "chainsaw", "diesel tractor", "washing machine", "steam locomotive", "printing press",
        "hand dryer", "coffee grinder", "cargo lift", "helicopter", "milking machine",
        "dentist drill", "lawn mower",
    ),
    "instrument": (
        "cello", "concertina", "bagpipe", "marimba", "harpsichord", "tuba", "sitar", "banjo",
        "theremin", "kora", "pan flute", "snare drum", "church organ", "bandoneón",
    ),
    "music": (
        "bossa nova", "klezmer", "techno", "fado", "gospel", "ska", "baroque music",
        "throat singing", "swing", "highlife", "flamenco", "ambient synth", "polka", "reggaeton",
    ),
    "emotion": (
        "relief", "stage fright", "grief", "pure joy", "envy", "boredom", "panic", "pride",
        "disbelief", "tenderness", "rage", "homesickness",
    ),
    "phrase": (
        "we never close the gate", "count me out", "the tide will not wait",
        "nobody told the cook", "that is my final offer", "look behind the clock",
        "I left it in Lund", "bring me the blue ledger", "all hands to the pump",
        "this was never about money", "mind the second step", "you had one job",
        "ask the ferryman", "we shall vote again", "keep the receipt",
    ),
    "language": (
        "Portuguese", "Welsh", "Swahili", "Basque", "Korean", "Icelandic", "Quechua", "Farsi",
        "Catalan", "Tamil",
    ),
    "kind": (
        "nature film", "courtroom drama", "cooking contest", "newsreel", "quiz show",
        "travel diary", "cartoon short", "concert film", "silent film", "soap opera",
        "puppet show", "weather bulletin",
    ),
    "channel": (
        "Channel Nine North", "Orbit TV", "Radio Bruma", "Kanal Fyr", "Lakeside Public Media",
        "Canal Poniente", "Studio Halland", "Metro Vision", "Tele Aurora", "The Barge Network",
    ),
    "region": (
        "Benelux", "the Nordics", "Latin America", "West Africa", "South Asia", "Oceania",
        "North America", "the Balkans",
    ),
    "month": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ),
    "year": tuple(str(year) for year in range(1994, 2026)),
    "number": tuple(str(number) for number in range(1, 13)),
    "ciudad": ("Cádiz", "Bogotá", "Mérida", "Asunción", "León", "Córdoba", "Ibagué", "Logroño"),
    "tema": (
        "la sequía", "el precio del pan", "los trenes nocturnos", "la educación", "las pensiones",
        "el Año Nuevo", "los sueños", "la energía",
    ),
    "mes": ("enero", "marzo", "mayo", "julio", "octubre", "diciembre"),
    "maschine": ("Kaffeemühle", "Säge", "Dampflok", "Nähmaschine", "Glocke", "Bohrmaschine"),
    "thema": ("Mieten", "Bienen", "Rüstung", "Klimaschutz", "Gebühren", "Nachtzüge", "Schulen"),
    "toshi": ("京都", "札幌", "大阪", "長崎", "函館", "金沢", "神戸"),
    "dawsha": ("قطار", "مطر", "طبول", "أجراس", "رعد", "أمواج"),
}  # fmt: skip
