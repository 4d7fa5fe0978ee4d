"""Use cases that administrators and the operator share: who may call them, and whom they mean."""

from collections.abc import Awaitable, Callable

import pytest

from quart_app.composition import Built
from quart_app.errors import (
    Forbidden,
    LastAdministrator,
    NotFound,
    NotLoggedIn,
    PasswordNeeded,
)
from quart_app.model import Role
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.caller import Caller
from tests.callers import NOBODY, caller_from, caller_of
from tests.conftest import PASSWORD, Member

UseCase = Callable[[Services, Caller, UserRef], Awaitable[object]]
WITH_A_TARGET: dict[str, UseCase] = {
    "get": lambda services, caller, ref: services.users.get(caller, ref),
    "deactivate": lambda services, caller, ref: services.users.deactivate(
        caller, ref, current_password=PASSWORD
    ),
    "activate": lambda services, caller, ref: services.users.activate(
        caller, ref, current_password=PASSWORD
    ),
    "change the role": lambda services, caller, ref: services.users.change_role(
        caller, ref, Role.ADMIN, current_password=PASSWORD
    ),
    "set the password": lambda services, caller, ref: services.user_passwords.set(
        caller, ref, None, current_password=PASSWORD
    ),
    "make a reset link": lambda services, caller, ref: services.user_passwords.make_reset_link(
        caller, ref, current_password=PASSWORD
    ),
    "end sessions": lambda services, caller, ref: services.session_administration.end_all_of(
        caller, ref, current_password=PASSWORD
    ),
}
each_use_case = pytest.mark.parametrize(
    "use_case", WITH_A_TARGET.values(), ids=WITH_A_TARGET.keys()
)


@pytest.fixture
async def root(services: Services) -> int:
    user, _ = await services.users.create(
        NOBODY, username="root", email="root@example.com", role=Role.ADMIN, password=PASSWORD
    )
    return user.id


@each_use_case
async def test_an_administrator_and_the_operator_mean_a_user_by_id_or_by_name(
    services: Services, member: Member, root: int, use_case: UseCase
) -> None:
    for caller in (caller_of(root), NOBODY):
        for ref in (UserRef.by_id(member.id), UserRef.by_name(member.username)):
            await services.users.activate(NOBODY, ref)
            await use_case(services, caller, ref)


@each_use_case
async def test_an_unknown_user_is_not_found_and_only_for_administrators(
    services: Services, member: Member, root: int, use_case: UseCase
) -> None:
    for ref, sentence in (
        (UserRef.by_id(1000), NotFound.default_sentence),
        (UserRef.by_name("eve"), "There is no user named eve."),
    ):
        with pytest.raises(NotFound) as raised:
            await use_case(services, caller_of(root), ref)
        assert raised.value.sentence == sentence
        with pytest.raises(Forbidden):
            await use_case(services, caller_of(member.id), ref)


@each_use_case
async def test_a_request_without_a_login_is_not_the_operator(
    services: Services, member: Member, use_case: UseCase
) -> None:
    with pytest.raises(NotLoggedIn):
        await use_case(services, caller_from(), UserRef.by_id(member.id))


async def test_an_administrator_with_an_old_login_needs_the_password_and_the_operator_does_not(
    services: Services, member: Member, root: int
) -> None:
    ref = UserRef.by_id(member.id)
    with pytest.raises(PasswordNeeded):
        await services.users.deactivate(caller_of(root), ref)
    await services.users.deactivate(NOBODY, ref)
    assert not (await services.users.get(NOBODY, ref)).user.is_active


async def test_only_the_operator_can_leave_no_administrator_and_learns_of_it(
    services: Services, member: Member, root: int
) -> None:
    ref = UserRef.by_name("root")
    for refused in (
        services.users.deactivate(caller_of(root), ref, current_password=PASSWORD),
        services.users.change_role(caller_of(root), ref, Role.VIEWER, current_password=PASSWORD),
    ):
        with pytest.raises(LastAdministrator):
            await refused
    assert not await services.users.deactivate(NOBODY, UserRef.by_id(member.id))
    assert await services.users.deactivate(NOBODY, ref)
    await services.users.activate(NOBODY, ref)
    assert await services.users.change_role(NOBODY, ref, Role.VIEWER)


async def test_the_periodic_tasks_of_every_service_are_found(built: Built) -> None:
    subjects = {task.failure for task in built.periodic_tasks}
    assert subjects == {
        "The audit can't be written",
        "Connected accounts can't be checked",
        *(
            f"Expired {each} can't be deleted"
            for each in ("audit entries", "logins", "changes", "alerts", "authorizations")
        ),
    }
