"""From the older application's database to this one's: adopt the schema, remove its sessions.

    command.py      the options, the exit codes, the question
    runner.py      what happens in which order, beside the event loop
    inspection.py   what stands in the database; facts.py: as values
    removal.py      the one transaction that adopts, removes and proves
    restoration.py  the way back
    sealed_file.py  a backup file that knows whether it was changed
    sqlite/, postgres/  what each engine does in its own way; engine.py: what that is

What is removed is written down in a table of ours (record.py), so that a database says by itself
whether it ever had the table, and which backup belongs to it.
"""
