// One line's JSON, read forward. It knows where it stands, so that every complaint can name line and column.
using System.Collections.Immutable;
using System.Text.Json;
using KTrace.Symbols;

namespace KTrace.Tracing;

/// <summary>A cursor over the object of one line.</summary>
internal ref struct RecordJson
{
    private readonly ReadOnlyMemory<byte> _line;
    private readonly string _file;
    private readonly long _number;
    private Utf8JsonReader _json;

    /// <exception cref="MalformedFileException">The line is no object.</exception>
    /// <exception cref="JsonException">The line is no JSON.</exception>
    public RecordJson(ReadOnlyMemory<byte> line, string file, long number)
    {
        _line = line;
        _file = file;
        _number = number;
        _json = new Utf8JsonReader(line.Span, new JsonReaderOptions { MaxDepth = TraceFormat.MaxDepth });
        if (!_json.Read() || _json.TokenType != JsonTokenType.StartObject)
        {
            throw Fail("a record is a JSON object");
        }
    }

    /// <summary>The whole line is one JSON value.</summary>
    public static bool IsComplete(ReadOnlySpan<byte> line)
    {
        var json = new Utf8JsonReader(line, new JsonReaderOptions { MaxDepth = TraceFormat.MaxDepth });
        try
        {
            while (json.Read())
            {
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    /// <summary>The record's type, wherever it stands in the object (jq's -S sorts keys). The cursor stays.</summary>
    public readonly RecordJson FindType(out bool found)
    {
        RecordJson copy = this;
        while (copy.NextProperty())
        {
            if (copy.Is("type"u8))
            {
                copy.Next(JsonTokenType.String, "the type is a string");
                found = true;
                return copy;
            }

            copy.Skip();
        }

        found = false;
        return copy;
    }

    /// <summary>Moves to the next property of the object that the cursor is in; false at the object's end.</summary>
    public bool NextProperty()
    {
        _json.Read();
        return _json.TokenType != JsonTokenType.EndObject;
    }

    /// <summary>Moves to the next element of an array; false at its end.</summary>
    public bool NextElement()
    {
        _json.Read();
        return _json.TokenType != JsonTokenType.EndArray;
    }

    /// <summary>Compares the property name, or the string, under the cursor.</summary>
    public readonly bool Is(ReadOnlySpan<byte> text) => _json.ValueTextEquals(text);

    /// <summary>Ignores the value of the property under the cursor.</summary>
    public void Skip() => _json.Skip();

    /// <summary>Nothing may follow the record's object.</summary>
    public void EndLine()
    {
        if (_json.Read())
        {
            throw Fail("more than one object in a line");
        }
    }

    public void StartObject(string what) => Next(JsonTokenType.StartObject, what + " is an object");

    /// <summary>The element under the cursor must be an object.</summary>
    public readonly void ElementObject(string what)
    {
        if (_json.TokenType != JsonTokenType.StartObject)
        {
            throw Fail(what + " is an object");
        }
    }

    public void StartArray(string what) => Next(JsonTokenType.StartArray, what + " is an array");

    /// <param name="last">A value that came before; it is given out again when the text is the same.</param>
    public string String(string what, string? last = null)
    {
        Next(JsonTokenType.String, what + " is a string");
        return last is not null && _json.ValueTextEquals(last) ? last : _json.GetString()!;
    }

    /// <summary>A string of which a few values are usual.</summary>
    public string String(string what, ImmutableArray<string> usual)
    {
        Next(JsonTokenType.String, what + " is a string");
        foreach (string text in usual)
        {
            if (_json.ValueTextEquals(text))
            {
                return text;
            }
        }

        return _json.GetString()!;
    }

    public string? OptionalString(string what)
    {
        _json.Read();
        return _json.TokenType switch
        {
            JsonTokenType.Null => null,
            JsonTokenType.String => _json.GetString(),
            _ => throw Fail(what + " is a string"),
        };
    }

    /// <summary>The string or null under the cursor, inside an array.</summary>
    public readonly string? ElementString(string what) => _json.TokenType switch
    {
        JsonTokenType.Null => null,
        JsonTokenType.String => _json.GetString(),
        _ => throw Fail(what + " is a string or null"),
    };

    /// <summary>The property name under the cursor.</summary>
    public readonly string Name(string? last) =>
        last is not null && _json.ValueTextEquals(last) ? last : _json.GetString()!;

    public bool Boolean(string what)
    {
        _json.Read();
        return _json.TokenType switch
        {
            JsonTokenType.True => true,
            JsonTokenType.False => false,
            _ => throw Fail(what + " is true or false"),
        };
    }

    public int Int32(string what)
    {
        Next(JsonTokenType.Number, what + " is a number");
        return ElementInt32(what);
    }

    /// <summary>The number that is the value of the property under the cursor; null, and the cursor stays, when it is no number.</summary>
    public int? TryInt32(string what)
    {
        RecordJson copy = this;
        copy._json.Read();
        if (copy._json.TokenType != JsonTokenType.Number)
        {
            return null;
        }

        this = copy;
        return ElementInt32(what);
    }

    /// <summary>Moves to the value of the property under the cursor.</summary>
    public void Read() => _json.Read();

    /// <summary>What kind of value is under the cursor.</summary>
    public readonly JsonTokenType Kind => _json.TokenType;

    /// <summary>The whole number under the cursor as 64 bits; negative ones in two's complement.</summary>
    public readonly ulong ElementBits(string what) =>
        _json.TryGetInt64(out long value) ? (ulong)value : _json.TryGetUInt64(out ulong large) ? large : throw Fail(what + " is a whole number of 64 bits");

    public readonly int ElementInt32(string what) =>
        _json.TokenType == JsonTokenType.Number && _json.TryGetInt32(out int value) && value >= 0
            ? value
            : throw Fail(what + " is a whole number from 0 to 2147483647");

    public readonly uint ElementUInt32(string what) =>
        _json.TokenType == JsonTokenType.Number && _json.TryGetUInt32(out uint value) ? value : throw Fail(what + " is a whole number from 0 to 4294967295");

    public long Int64(string what)
    {
        Next(JsonTokenType.Number, what + " is a number");
        return _json.TryGetInt64(out long value) ? value : throw Fail(what + " is a whole number of 64 bits");
    }

    public ulong UInt64(string what)
    {
        Next(JsonTokenType.Number, what + " is a number");
        return _json.TryGetUInt64(out ulong value) ? value : throw Fail(what + " is a whole number of 64 bits, not negative");
    }

    public double Seconds(string what) => Number(what) is >= 0 and var seconds ? seconds : throw Fail(what + " is a number of seconds");

    public double Number(string what)
    {
        Next(JsonTokenType.Number, what + " is a number");
        return _json.TryGetDouble(out double value) && double.IsFinite(value) ? value : throw Fail(what + " is a number");
    }

    public ulong Hex(string what)
    {
        _json.Read();
        return ElementHex(what);
    }

    public readonly ulong ElementHex(string what)
    {
        Span<char> text = stackalloc char[20];
        if (_json.TokenType == JsonTokenType.String && _json.ValueSpan.Length <= text.Length)
        {
            int length = _json.CopyString(text);
            if (TraceHex.TryParse(text[..length], out ulong value))
            {
                return value;
            }
        }

        throw Fail(what + " is a string such as \"0xffffffff81000000\"");
    }

    /// <summary>The bytes of the object that is the value of the property under the cursor.</summary>
    public ReadOnlyMemory<byte> RawObject(string what)
    {
        Next(JsonTokenType.StartObject, what + " is an object");
        int start = (int)_json.TokenStartIndex;
        _json.Skip();
        return _line[start..(int)_json.BytesConsumed];
    }

    public readonly MalformedFileException Fail(string what) => new(_file, LineSource.Section(_number), _json.TokenStartIndex, what);

    private void Next(JsonTokenType type, string what)
    {
        _json.Read();
        if (_json.TokenType != type)
        {
            throw Fail(what);
        }
    }
}
