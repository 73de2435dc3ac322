"""Pages for people, made on the server: Jinja templates, htmx for parts of them, strict CSP.

How to write a page (docs/adr/0016-pages.md says why; `/components` shows every part):

1. A module with a router, listed in `site.MODULES`::

    router = APIRouter(route_class=PageRoute, include_in_schema=False)

    @router.get("/things")
    async def show_things(visitor: RequireUser, cursor: Cursor = None) -> Response:
        async with visitor.state.database.read() as session:
            rows = await things.list_things(session, actor=visitor.actor,
                                            after=number_after(cursor), limit=51)
        return page(visitor.request, "things.html", rows=rows[:50], next=next_cursor(rows, 50))

    @router.post("/things")
    async def create_thing(visitor: RequireUser) -> Response:
        fields = await visitor.fields()
        try:
            async with change(visitor.state) as session:      # committed before the answer
                await things.create_thing(session, name=fields.text("name"), actor=visitor.actor)
        except AieyeError as error:                            # the form again, what was typed kept
            return page(visitor.request, "things_new.html", status=error.status,
                        typed=fields, errors=errors_of(error, "name"))
        return go(visitor.request, "/things", toast="The thing was created.")

2. A template `things.html`; a fragment is a block that is called as the target's id::

    {% extends "base.html" %}
    {% set crumbs = [("/", "Overview")] %}
    {% block title %}Things{% endblock %}
    {% block acts %}<a class="btn btn-primary" href="/things/new">Create thing</a>{% endblock %}
    {% block main %}
    {% call ui.table("Things") %}
    <thead><tr><th scope="col">Name</th>{{ ui.sort(here, "calls", "Calls", "num") }}</tr></thead>
    <tbody>{% block more %}
      {% for row in rows %}<tr><td><a {{ ui.in_drawer("/things/%d" % row.id) }}>{{ row.name }}</a></td>
        <td class="num">{{ row.calls|number }}</td></tr>{% endfor %}
      {% if next %}{{ ui.more(here(cursor=next), 2) }}{% endif %}
    {% endblock %}</tbody>
    {% endcall %}
    {{ ui.api_call(base_url, "GET", "/api/v1/things") }}
    {% endblock %}

Every template has `signed_in here now zone when base_url csrf_field is_demo icon charts show ui` and the
filters of `show.py` (`number compact money dollars ms duration size percent middle plural`). A page with
a time range passes `period=visitor.range()`. Every `<form method="post">` holds `{{ csrf_field }}`; every
`hx-get` has its `href`, every `hx-post` its form (`hx-target="this" hx-swap="outerHTML"`, an id, and a
block of that name). What goes into `#drawer` is `{% block drawer %}`, into `#dialog` `{% block dialog %}`.
No `style=`, no `on…=`, no inline script. Whatever a model or a person wrote is shown by `ui.code` or
plain `{{ }}`, never `|safe`. New utility classes or icons (`assets/icons.txt`): `make assets`, and commit
what it builds; after a merge conflict in `static/` take either side and `make assets` again.
"""
