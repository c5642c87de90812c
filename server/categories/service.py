"""Categories, their names and other names, and the check before a new name is made."""

from server.categories.changes import add_alias, remember_misspelling, remove_alias, rename, set_status
from server.categories.finding import find_by_name, get
from server.categories.lists import (
    Bin,
    CategoryPage,
    CategorySummary,
    Surroundings,
    bin_of,
    count_by_status,
    list_categories,
    list_found_since,
    list_names,
    look_around,
    summarise,
)
from server.categories.new_names import check_name, create, find_or_create, first_status, resolve

__all__ = [
    "Bin",
    "CategoryPage",
    "CategorySummary",
    "Surroundings",
    "add_alias",
    "bin_of",
    "check_name",
    "count_by_status",
    "create",
    "find_by_name",
    "find_or_create",
    "first_status",
    "get",
    "list_categories",
    "list_found_since",
    "list_names",
    "look_around",
    "remember_misspelling",
    "remove_alias",
    "rename",
    "resolve",
    "set_status",
    "summarise",
]
