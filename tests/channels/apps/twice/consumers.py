from django.channels import consumer


@consumer("tests.apps.good")
def twice(**message):
    pass
