"""``python -m tests.rehearsal -H 127.0.0.1 -p PORT`` runs the emulator."""

from moto.server import main

# apart from this file: moto asks a model's module for more than '__main__'
from tests.rehearsal.emulator import teach

if __name__ == "__main__":
    teach()
    main()
