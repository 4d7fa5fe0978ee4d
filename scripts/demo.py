"""The data of the demonstration: one user with three platform connections."""

from callers import caller_of

from quart_app.model import PlatformType, Role
from quart_app.services import Services
from quart_app.services.caller import Caller

USERNAME = "demo"
PASSWORD = "fediverse-demo"  # noqa: S105 of a temporary database, served on loopback
_CONNECTIONS = [
    ("Photos", PlatformType.PIXELFED, "https://pixelfed.example", "demo"),
    ("Notes", PlatformType.MASTODON, "https://mastodon.example", "demo"),
    ("Garden club", PlatformType.PIXELFED, "https://garden.example", "rosa"),
]


async def fill(services: Services) -> None:
    """Create the user and the connections through the use cases."""
    user, _ = await services.users.create(
        Caller.command_line(),
        username=USERNAME,
        email="demo@example.com",
        role=Role.ADMIN,
        password=PASSWORD,
    )
    for name, platform_type, instance_url, username in _CONNECTIONS:
        await services.platforms.connect(
            caller_of(user.id),
            name=name,
            platform_type=platform_type,
            instance_url=instance_url,
            access_token="a-token-that-no-instance-knows",  # noqa: S106
            username=username,
        )
