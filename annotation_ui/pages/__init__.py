"""HTML pages. Each route parses, calls services, returns a page or leads to one.

A service refuses before it writes anything, so a route may catch the refusal and show the form again.
"""

from fastapi import APIRouter

from annotation_ui.pages import account, annotate, batches, categories, overview, projects, versions

router = APIRouter(include_in_schema=False)
for _part in (account, projects, overview, batches, annotate, categories, versions):
    router.include_router(_part.router)
