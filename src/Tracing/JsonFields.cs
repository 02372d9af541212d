using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;

namespace KTrace.Tracing;

/// <summary>Fields that may be absent, and numbers in the form that traces have them.</summary>
internal static class JsonFields
{
    public static void Optional(this Utf8JsonWriter json, ReadOnlySpan<byte> name, string? value)
    {
        if (value is not null)
        {
            json.WriteString(name, value);
        }
    }

    public static void Optional(this Utf8JsonWriter json, ReadOnlySpan<byte> name, ulong? value)
    {
        if (value is { } number)
        {
            json.WriteNumber(name, number);
        }
    }

    public static void Seconds(this Utf8JsonWriter json, ReadOnlySpan<byte> name, double? value)
    {
        if (value is { } seconds)
        {
            json.WriteNumber(name, Math.Round(seconds, 6));
        }
    }

    public static void Hex(this Utf8JsonWriter json, ReadOnlySpan<byte> name, ulong? value)
    {
        if (value is { } number)
        {
            json.WritePropertyName(name);
            json.HexValue(number);
        }
    }

    public static void HexValues(this Utf8JsonWriter json, ImmutableArray<ulong> values)
    {
        foreach (ulong value in values.IsDefault ? [] : values)
        {
            json.HexValue(value);
        }
    }

    public static void HexValue(this Utf8JsonWriter json, ulong value)
    {
        // Written raw: digits need no escaping, and this is most of what a hit consists of.
        Span<byte> text = stackalloc byte[20];
        "\"0x"u8.CopyTo(text);
        value.TryFormat(text[3..], out int digits, "x", CultureInfo.InvariantCulture);
        text[3 + digits] = (byte)'"';
        json.WriteRawValue(text[..(4 + digits)], skipInputValidation: true);
    }
}
