/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON texts as Python's json module writes them: sorted keys are the callers' care, here are strings and numbers.
 */
#include "fuse/native/state_lane/state_op.h"

#include <stdlib.h>

static const char hexadecimal[] = "0123456789abcdef";

void *state_grown(void *old, size_t bytes)
{
    void *grown = realloc(old, bytes);
    if (grown == NULL)
        abort();
    return grown;
}

static char *room_for(struct text *t, size_t bytes)
{
    if (t->room - t->bytes < bytes) {
        t->room = 2 * (t->bytes + bytes);
        t->at = state_grown(t->at, t->room);
    }
    return t->at + t->bytes;
}

void text_put(struct text *t, const char *from, size_t bytes)
{
    memcpy(room_for(t, bytes), from, bytes);
    t->bytes += bytes;
}

void text_string(struct text *t, const char *string)
{
    text_put(t, string, strlen(string));
}

void text_number(struct text *t, uint64_t number)
{
    char digits[NUMBER_TEXT_BYTES];
    uint32_t from = NUMBER_TEXT_BYTES;
    do
        digits[--from] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    text_put(t, digits + from, NUMBER_TEXT_BYTES - from);
}

/* The code point at p and its length, or 0 where Python's strict decoder would refuse (RFC 3629, section 4). */
static uint32_t code_point(const uint8_t *p, size_t left, uint32_t *length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > left)
        return *length = 0;
    uint32_t code = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (uint32_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return *length = 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    *length = code < least[n] || code > 0x10ffff || surrogate ? 0 : n;
    return code;
}

static bool is_utf8(const char *name, uint32_t bytes)
{
    uint32_t length;
    for (uint32_t at = 0; at < bytes; at += length) {
        code_point((const uint8_t *)name + at, bytes - at, &length);
        if (length == 0)
            return false;
    }
    return true;
}

static void put_unit(struct text *t, uint32_t unit)
{
    const char escaped[] = {'\\', 'u', hexadecimal[unit >> 12 & 15], hexadecimal[unit >> 8 & 15],
                            hexadecimal[unit >> 4 & 15], hexadecimal[unit & 15]};
    text_put(t, escaped, sizeof escaped);
}

static void put_code(struct text *t, uint32_t code)
{
    static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (code == '"' || code == '\\' || (code < sizeof shorts && shorts[code] != 0)) {
        const char escaped[] = {'\\', code < sizeof shorts ? shorts[code] : (char)code};
        text_put(t, escaped, sizeof escaped);
    } else if (code >= 0x10000) {
        put_unit(t, 0xd800 + ((code - 0x10000) >> 10));
        put_unit(t, 0xdc00 + ((code - 0x10000) & 0x3ff));
    } else {
        put_unit(t, code);
    }
}

static bool is_plain(uint8_t c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

static void put_hexadecimal(struct text *t, const char *name, uint32_t bytes)
{
    text_string(t, "{\"hex\":\"");
    for (uint32_t i = 0; i < bytes; i++) {
        const char pair[] = {hexadecimal[(uint8_t)name[i] >> 4], hexadecimal[(uint8_t)name[i] & 15]};
        text_put(t, pair, sizeof pair);
    }
    text_string(t, "\"}");
}

void text_name(struct text *t, const char *name, uint32_t bytes)
{
    if (!is_utf8(name, bytes)) {
        put_hexadecimal(t, name, bytes);
        return;
    }
    text_put(t, "\"", 1);
    for (uint32_t at = 0; at < bytes;) {
        uint32_t plain = 0, length;
        while (at + plain < bytes && is_plain((uint8_t)name[at + plain]))
            plain++;
        text_put(t, name + at, plain);
        at += plain;
        if (at == bytes)
            break;
        put_code(t, code_point((const uint8_t *)name + at, bytes - at, &length));
        at += length;
    }
    text_put(t, "\"", 1);
}

void text_base64(struct text *t, const uint8_t *from, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = room_for(t, (bytes + 2) / 3 * 4);
    for (size_t at = 0; at < bytes; at += 3, to += 4) {
        size_t left = bytes - at;
        uint32_t three = (uint32_t)from[at] << 16 | (left > 1 ? (uint32_t)from[at + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)from[at + 2] : 0);
        to[0] = digits[three >> 18];
        to[1] = digits[three >> 12 & 63];
        to[2] = left > 1 ? digits[three >> 6 & 63] : '=';
        to[3] = left > 2 ? digits[three & 63] : '=';
    }
    t->bytes += (bytes + 2) / 3 * 4;
}
