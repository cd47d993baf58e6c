"""The little world of the embedded corpus: the village of Pebblebrook, its people, animals and places. All of it is invented.

Every table has one row per thing and one attribute per column; `corpus_facts.py` turns attributes into statements, questions and
answers. Nothing else knows these values, so a change here changes the whole corpus consistently.
"""

import functools
from dataclasses import dataclass, fields

VILLAGE = "Pebblebrook"
RIVER = "the Silver River"
ASSISTANT = "Abacus"

PRONOUNS = {"she": ("she", "her", "her"), "he": ("he", "him", "his"), "it": ("it", "it", "its"), "they": ("they", "them", "their")}


@dataclass(frozen=True)
class Person:
    name: str
    he: str  # "she" or "he"
    job: str
    work: str  # the place, with "the"
    near: str  # lives near this place
    color: str
    food: str
    hobby: str
    pet: str  # name, "" for none
    friend: str


@dataclass(frozen=True)
class Animal:
    name: str
    he: str
    kind: str
    color: str
    size: str
    bed: str
    food: str
    likes: str
    owner: str


@dataclass(frozen=True)
class Place:
    name: str  # with "the"
    door: str  # color of its door, "" for none
    where: str
    there: str  # what one finds there, a plural or a mass noun


def _rows(cls, table: str) -> tuple:
    """Rows of `|`-separated columns as objects of `cls`; `-` is an empty value."""
    rows = [[cell.strip().replace("-", "") for cell in line.split("|")] for line in table.strip().splitlines()]
    assert all(len(row) == len(fields(cls)) for row in rows), rows
    return tuple(cls(*row) for row in rows)


PEOPLE: tuple[Person, ...] = _rows(Person, """
Mila  | she | baker     | the bakery   | the mill    | blue   | soup         | singing      | Biscuit | Nina
Oren  | he  | farmer    | the farm     | the hill    | green  | bread        | dancing      | Clover  | Hugo
Tessa | she | teacher   | the school   | the bridge  | purple | cake         | reading      | Inky    | Ivy
Bruno | he  | fisher    | the harbor   | the harbor  | red    | potatoes     | sailing      | Pepper  | Otis
Nina  | she | doctor    | the clinic   | the garden  | white  | apples       | running      | Dot     | Mila
Hugo  | he  | builder   | the workshop | the forest  | orange | cheese       | drawing      | Rusty   | Oren
Lena  | she | painter   | the tower    | the market  | yellow | pears        | swimming     | Sunny   | Clara
Otis  | he  | gardener  | the garden   | the station | brown  | carrots      | fishing      | Moss    | Bruno
Felix | he  | postman   | the station  | the school  | black  | pancakes     | cycling      | Comet   | Jonas
Ivy   | she | librarian | the library  | the tower   | pink   | berries      | knitting     | Whisper | Tessa
Clara | she | musician  | the theater  | the lake    | red    | nuts         | dancing      | Melody  | Lena
Jonas | he  | cook      | the inn      | the market  | yellow | noodles      | reading      | -       | Felix
Sam   | he  | pupil     | the school   | the farm    | green  | honey        | flying kites | Hop     | Pia
Pia   | she | pupil     | the school   | the library | blue   | strawberries | climbing     | -       | Sam
""")  # fmt: skip

ANIMALS: tuple[Animal, ...] = _rows(Animal, """
Biscuit | he  | dog    | brown  | small | under the kitchen table | bones     | chasing leaves          | Mila
Clover  | she | goat   | white  | big   | in the barn             | hay       | jumping over fences     | Oren
Inky    | she | cat    | black  | small | on the bookshelf        | fish      | playing with string     | Tessa
Pepper  | he  | parrot | green  | small | on the boat             | nuts      | repeating words         | Bruno
Dot     | she | rabbit | gray   | small | in a basket             | carrots   | hiding in the grass     | Nina
Rusty   | he  | horse  | brown  | big   | in the stable           | apples    | pulling the cart        | Hugo
Sunny   | she | canary | yellow | tiny  | in a golden cage        | seeds     | singing in the morning  | Lena
Moss    | he  | turtle | green  | small | under the stones        | leaves    | lying in the sun        | Otis
Comet   | he  | pigeon | gray   | small | on the roof             | corn      | flying over the village | Felix
Whisper | she | mouse  | white  | tiny  | in an old shoe          | cheese    | listening to stories    | Ivy
Melody  | she | duck   | white  | big   | beside the lake         | wet grass | swimming in circles     | Clara
Hop     | he  | frog   | green  | tiny  | in a bucket             | flies     | jumping into puddles    | Sam
""")  # fmt: skip

PLACES: tuple[Place, ...] = _rows(Place, """
the bakery   | blue   | next to the market          | warm bread
the farm     | red    | behind the hill             | cows and hens
the school   | yellow | across from the library     | chairs and desks
the harbor   | -      | at the end of the river     | boats and nets
the clinic   | white  | near the bridge             | beds and medicine
the workshop | brown  | at the edge of the forest   | hammers and nails
the tower    | gray   | on top of the hill          | paint and brushes
the garden   | green  | behind the school           | flowers and bees
the station  | black  | in the north of the village | trains and letters
the library  | purple | across from the school      | old books
the theater  | pink   | beside the lake             | drums and flutes
the inn      | orange | next to the station         | hot meals
the market   | -      | in the middle of the village | fruit and vegetables
the mill     | gray   | beside the river            | flour
the bridge   | -      | over the river              | lamps and flags
the forest   | -      | in the west of the village  | tall trees
the lake     | -      | in the east of the village  | ducks and boats
the hill     | -      | in the south of the village | grass and wind
""")  # fmt: skip

PERSON = {p.name: p for p in PEOPLE}
ANIMAL = {a.name: a for a in ANIMALS}
PLACE = {p.name: p for p in PLACES}
CHILDREN = ("Sam", "Pia")

COLORS = ("red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black", "white", "gray")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SEASONS = ("spring", "summer", "autumn", "winter")


@functools.cache
def person_slots(prefix: str, person: Person) -> dict[str, str]:
    """Slots of a person in a story: `<A>`, `<A.he>`, `<A.job>`, `<A.pet>`, ..."""
    (he, him, his), child = PRONOUNS[person.he], person.name in CHILDREN
    slots = {prefix: person.name, f"{prefix}.he": he, f"{prefix}.He": he.capitalize(), f"{prefix}.him": him, f"{prefix}.his": his,
             f"{prefix}.His": his.capitalize(), f"{prefix}.self": {"she": "herself", "he": "himself"}[he],
             f"{prefix}.title": f"{'little ' if child else ''}{person.name}{'' if child else f' the {person.job}'}",
             f"{prefix}.role": "a pupil of the school" if child else f"the {person.job} of {VILLAGE}"}  # fmt: skip
    for column in ("job", "work", "near", "color", "food", "hobby", "friend"):
        slots[f"{prefix}.{column}"] = getattr(person, column)
    return slots


@functools.cache
def animal_slots(prefix: str, animal: Animal) -> dict[str, str]:
    """Slots of an animal in a story: `<P>`, `<P.he>`, `<P.kind>`, `<P.bed>`, ..."""
    he, him, his = PRONOUNS[animal.he]
    slots = {prefix: animal.name, f"{prefix}.he": he, f"{prefix}.He": he.capitalize(), f"{prefix}.him": him, f"{prefix}.his": his,
             f"{prefix}.His": his.capitalize()}  # fmt: skip
    for column in ("kind", "color", "size", "bed", "food", "likes", "owner"):
        slots[f"{prefix}.{column}"] = getattr(animal, column)
    return slots
