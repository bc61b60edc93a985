"""
Processes that do nothing but run consumers, and what looks after them.

* worker: one process with threads that run consumers.
* supervisor: starts several of them and replaces those that end.
* handlers: what they do when they get a signal.
* link: how a process and its supervisor know of each other.
* announcing: telling the store what a process is and has done.
* patterns: which channels a process serves.
* console: where its log goes.
"""
