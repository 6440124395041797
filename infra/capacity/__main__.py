"""`python -m infra.capacity`: as `smartfit capacity`."""

from infra.capacity.cli import command

if __name__ == "__main__":
    command(prog_name="python -m infra.capacity")
