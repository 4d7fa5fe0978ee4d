"""`python -m quart_app`: the commands of quart_app.cli."""

from quart_app.cli.command_line import main

if __name__ == "__main__":
    main()
