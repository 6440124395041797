"""The platform's waiting lines event by event (simpy): the event line, a gate node, the watch over equipment, a cell of gyms."""
