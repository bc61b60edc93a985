from django.channels import consumer


@consumer("tests misnamed")
def misnamed(**message):
    pass
