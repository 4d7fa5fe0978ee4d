"""quart_app: log in with a browser, keep connections to Fediverse accounts, switch between them.

The rooms, from the door inwards; a request goes one way through them and nothing imports outwards:

    app.py        puts everything together: create_app(settings) -> Quart
    composition/  puts the use cases together, for commands as well
    web/          HTTP in, HTTP out: the gate, pages and JSON
    services/     use cases: one public method = one transaction
    storage/      the only place that writes queries; its schema's revisions
    fediverse/    outbound HTTP to instances; sibling of storage
    model/        the tables by subject, and the lengths of their columns
    errors.py     what can go wrong, as facts without HTTP
    text/         text of people and strangers: what is printable, a name, the same name

Beside them, session/ (the sessions, as a library that imports nothing else of quart_app),
settings/ (the only reader of the environment), migration/ (from the older application's database
to here) and cli/ (commands by the same services as the web). Small modules serve any of them: hosts
and instances (names and addresses of servers), durations, terminal, log_records.
"""
