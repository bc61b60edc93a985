"""What an interface process tells the store of groups."""

from django.channels.exceptions import ChannelError


class Groups:
    """
    join(), leave() and renew() of the backend of `relay`, which happen soon, and
    together for channels that leave one after another. Nobody hears if the store
    does not answer: it forgets members by itself.
    """

    def __init__(self, relay):
        self.expiry = relay.backend.expiry
        self._relay = relay
        # (group, inbox) -> channels that are about to leave, of the last call.
        self._leaving = {}
        # (group, inbox) -> channels that have left, which the store does not know.
        self._unknown = {}

    def join(self, group, inbox, channels):
        self._do("join", group, inbox, channels)

    def renew(self, group, inbox, channels):
        self._do("renew", group, inbox, channels)

    def leave(self, group, inbox, channels):
        leaving = self._leaving.get((group, inbox))
        if leaving is not None:
            leaving.extend(channels)
            if self._leaving.get((group, inbox)) is leaving:
                return
        self._do("leave", group, inbox, list(channels))

    def _do(self, name, group, inbox, channels):
        if name == "leave":
            self._leaving[group, inbox] = channels
        else:
            # Whoever joins again after this must not leave before it.
            self._leaving.pop((group, inbox), None)

        def do(backend):
            if self._leaving.get((group, inbox)) is channels:
                del self._leaving[group, inbox]
            if name == "renew":
                self._leave_again(backend, group, inbox, channels)
            try:
                getattr(backend, name)(group, inbox, channels)
            except ChannelError:
                if name == "leave":
                    self._unknown.setdefault((group, inbox), []).extend(channels)
                raise

        self._relay.do(do)

    def _leave_again(self, backend, group, inbox, members):
        """Take out whom the store still has, as renewing would let them stay."""
        left = set(self._unknown.get((group, inbox), ())).difference(members)
        if left:
            backend.leave(group, inbox, list(left))
        self._unknown.pop((group, inbox), None)
