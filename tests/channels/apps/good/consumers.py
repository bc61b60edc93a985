from django.channels import consumer


@consumer("tests.apps.good")
def good(**message):
    pass
