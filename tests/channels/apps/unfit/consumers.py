from django.channels import consumer


@consumer
def unfit(**message):
    pass
