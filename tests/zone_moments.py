"""What Python's zoneinfo knows of every time zone, for tests/test_zone.c: lines of

    zone NAME
    at MOMENT OFFSET        around each transition in the years 1 to 2100, and at chance moments
    local LOCAL MOMENT...   around the same transitions: when the clock on the wall shows that; none in a gap
"""
import datetime
import random
import struct
import sys
import zoneinfo

EPOCH = datetime.datetime(1970, 1, 1)
UTC_EPOCH = EPOCH.replace(tzinfo=datetime.timezone.utc)
FIRST, LAST = -62135510400, 4102444800  # a day after the beginning of Python's calendar; 2100
SEARCHED = 946684800  # 2000: files written without what the rules make end later
MONTH = 2629746
FOLDER = "/usr/share/zoneinfo"


def offset(zone, moment):
    there = (UTC_EPOCH + datetime.timedelta(seconds=moment)).astimezone(zone)
    return int(there.utcoffset().total_seconds())


def written(name):
    """The transitions in the file itself."""
    with open(f"{FOLDER}/{name}", "rb") as file:
        data = file.read()

    def counts(at):
        return struct.unpack(">6L", data[at + 20:at + 44])

    utc, standard, leaps, changes, types, chars = counts(0)
    if data[4:5] < b"2":
        return struct.unpack_from(f">{changes}l", data, 44)
    at = 44 + changes * 5 + types * 6 + chars + leaps * 8 + standard + utc
    return struct.unpack_from(f">{counts(at)[3]}q", data, at + 44)


def searched(zone):
    """Where the offset is another one than a month before: what the rules make, too."""
    for low in range(SEARCHED, LAST, MONTH):
        high = low + MONTH
        before = offset(zone, low)
        if before != offset(zone, high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            yield high


def solutions(zone, local):
    wall = EPOCH + datetime.timedelta(seconds=local)
    found = set()
    for fold in 0, 1:
        moment = local - int(wall.replace(tzinfo=zone, fold=fold).utcoffset().total_seconds())
        if moment + offset(zone, moment) == local:
            found.add(moment)
    return sorted(found)


def tell(name, whole, chance):
    zone = zoneinfo.ZoneInfo(name)
    print("zone", name)
    changes = set()
    if whole:
        changes = {moment for moment in written(name) if FIRST < moment < LAST} | set(searched(zone))
    for change in sorted(changes):
        for moment in change - 1, change, change + 1:
            print("at", moment, offset(zone, moment))
        for east in offset(zone, change - 1), offset(zone, change):
            for local in change + east - 1, change + east, change + east + 1:
                print("local", local, *solutions(zone, local))
    for _ in range(100 if whole else 10):
        moment = chance.randrange(-2208988800, LAST)
        print("at", moment, offset(zone, moment))
        print("local", moment, *solutions(zone, moment))


def main():
    zoneinfo.reset_tzpath([FOLDER])
    names = sorted(zoneinfo.available_timezones())
    told = set()
    for name in names:
        with open(f"{FOLDER}/{name}", "rb") as file:
            data = file.read()
        # Many are another one's second name: then a few moments do.
        tell(name, data not in told, random.Random(name))
        told.add(data)
    sys.exit(0 if names else "no time zones")


main()
