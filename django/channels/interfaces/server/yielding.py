"""How a greenlet with much to do lets others go ahead."""

import gevent


def give_way():
    """
    Let the greenlet wait until all others that have something to do have done it,
    those for whom something has come among them. gevent.sleep(0) looks for these
    only now and then.
    """
    hub = gevent.get_hub()
    with hub.loop.timer(0) as timer:
        hub.wait(timer)
