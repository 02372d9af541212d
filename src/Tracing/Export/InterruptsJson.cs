using System.Text.Encodings.Web;
using System.Text.Json;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tracing.Export;

/// <summary>`ktrace irqs --json`: one object, for programs.</summary>
public static class InterruptsJson
{
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A snapshot, as the trace has it.</summary>
    public static byte[] Of(TraceRecord.Interrupts interrupts) => Write(json => InterruptsWriter.Write(json, interrupts));

    /// <summary>A comparison.</summary>
    public static byte[] Of(IrqDiff diff) => Write(json =>
    {
        json.WriteBoolean("equal", diff.IsEqual);
        json.WriteNumber("same", diff.Same);
        json.WriteStartArray("differences");
        foreach (IrqDifference difference in diff.Differences)
        {
            json.WriteStartObject();
            json.WriteNumber("irq", difference.Irq);
            json.WriteString("kind", difference switch { { A: null } => "only-in-b", { B: null } => "only-in-a", _ => "changed" });
            json.WriteStartObject("changes");
            foreach (IrqChange change in difference.Changes)
            {
                json.WriteStartObject(change.What);
                json.WriteString("a", change.A);
                json.WriteString("b", change.B);
                json.WriteEndObject();
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    private static byte[] Write(Action<Utf8JsonWriter> content)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            json.WriteStartObject();
            content(json);
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }
}
