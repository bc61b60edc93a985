from django.channels import registry

found = registry.registry.get("tests.one")
