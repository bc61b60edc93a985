from django.contrib import admin

from .models import Stats


@admin.register(Stats)
class StatsAdmin(admin.ModelAdmin):
    list_display = ["ip_address", "count", "last_view"]
    search_fields = ["ip_address"]
    readonly_fields = ["last_view"]
