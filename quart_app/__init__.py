"""quart_app: users log in, keep connections to Fediverse accounts, and switch between them.

The layers, from the top. A package imports only from those below it:

    app.py          builds the application: create_app(settings) -> Quart
    cli/            commands, which call the same use cases as the web
    composition/    builds the use cases
    web/            HTTP in, HTTP out: request checks, pages, JSON
    services/       use cases: one public method is one transaction
    storage/        all queries, and the schema's revisions
    fediverse/      outbound HTTP to Fediverse servers
    model/          tables, and the lengths of their columns
    errors.py       errors of use cases, without HTTP
    session/        the session library, which imports nothing else of quart_app
    text/           printable text, user names, name comparison

settings/ is the only reader of the environment. migration/ converts a database of the older
application. Every layer may use the small modules: hosts and instances (names and addresses of
servers), durations, observed_request, terminal, gc_pause, log_formats and log_records.
"""
