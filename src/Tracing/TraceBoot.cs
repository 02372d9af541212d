using System.Buffers;
using System.Collections;
using System.Text.Json;

namespace KTrace.Tracing;

/// <summary>
/// The resolved scenario of a recording, as the header keeps it: a JSON object whose keys belong to the scenario (paths and SHA-256 of
/// kernel and initramfs, the command line, QEMU's version and arguments). The trace passes it on unread, so that scenarios can grow.
/// </summary>
public sealed class TraceBoot : IEquatable<TraceBoot>
{
    private TraceBoot(JsonElement value) => Value = value;

    public static TraceBoot Empty { get; } = From(new Dictionary<string, object?>());

    /// <summary>Always an object.</summary>
    public JsonElement Value { get; }

    /// <param name="boot">Values may be null, string, bool, int, long, double, a list of these, or a dictionary again.</param>
    /// <exception cref="ArgumentException">A value of another type.</exception>
    public static TraceBoot From(IEnumerable<KeyValuePair<string, object?>> boot)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            Write(json, boot);
        }

        return From(buffer.WrittenMemory);
    }

    /// <exception cref="JsonException">Not JSON, or nested deeper than a trace may be.</exception>
    /// <exception cref="ArgumentException">Not an object.</exception>
    public static TraceBoot From(ReadOnlyMemory<byte> utf8)
    {
        using JsonDocument document = JsonDocument.Parse(utf8, new JsonDocumentOptions { MaxDepth = TraceFormat.MaxDepth - 1 });
        return document.RootElement.ValueKind == JsonValueKind.Object
            ? new TraceBoot(document.RootElement.Clone())
            : throw new ArgumentException("the boot of a trace is an object", nameof(utf8));
    }

    /// <summary>A string somewhere inside: <c>Text("kernel", "path")</c>. Null when it is not there or is no string.</summary>
    public string? Text(params ReadOnlySpan<string> path)
    {
        JsonElement element = Value;
        foreach (string name in path)
        {
            if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(name, out element))
            {
                return null;
            }
        }

        return element.ValueKind == JsonValueKind.String ? element.GetString() : null;
    }

    public bool Equals(TraceBoot? other) => other is not null && JsonElement.DeepEquals(Value, other.Value);

    public override bool Equals(object? obj) => Equals(obj as TraceBoot);

    public override int GetHashCode() => Value.GetPropertyCount();

    public override string ToString() => Value.GetRawText();

    private static void Write(Utf8JsonWriter json, object? value)
    {
        switch (value)
        {
            case null: json.WriteNullValue(); break;
            case string text: json.WriteStringValue(text); break;
            case bool flag: json.WriteBooleanValue(flag); break;
            case int number: json.WriteNumberValue(number); break;
            case long number: json.WriteNumberValue(number); break;
            case double number: json.WriteNumberValue(number); break;
            case IEnumerable<KeyValuePair<string, object?>> entries:
                json.WriteStartObject();
                foreach ((string key, object? entry) in entries)
                {
                    json.WritePropertyName(key);
                    Write(json, entry);
                }

                json.WriteEndObject();
                break;
            case IEnumerable list:
                json.WriteStartArray();
                foreach (object? entry in list)
                {
                    Write(json, entry);
                }

                json.WriteEndArray();
                break;
            default: throw new ArgumentException($"a boot cannot hold a {value.GetType().Name}", nameof(value));
        }
    }
}
