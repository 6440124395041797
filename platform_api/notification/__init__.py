"""The notification domain: what happens anywhere becomes a message to those it concerns, by push and by e-mail.

Handlers of events write who is to be told what (`announcing`), in the transaction of the event; a sender, a process of its
own, brings it to the channels (`channels`). So an event causes a message once, and a channel that is away delays it, no more.
"""
