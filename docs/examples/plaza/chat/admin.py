from django.contrib import admin

from .models import Line, Room


@admin.register(Room)
class RoomAdmin(admin.ModelAdmin):
    list_display = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Line)
class LineAdmin(admin.ModelAdmin):
    list_display = ["text", "author", "room", "time"]
    list_filter = ["room"]
    search_fields = ["text", "author__username"]
