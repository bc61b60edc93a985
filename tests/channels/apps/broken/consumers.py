import no_such_module  # NOQA
