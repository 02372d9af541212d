// `ktrace diff --json`: one object, for programs. Call paths are lists of frames as a comparison sees them.
using System.Text.Encodings.Web;
using System.Text.Json;

namespace KTrace.Tracing.Export;

/// <summary>Writes comparisons as JSON.</summary>
public static class DiffJson
{
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The comparison of two traces as one object without line feeds.</summary>
    public static byte[] Of(TraceDiff diff, Trace a, Trace b) => Write(json =>
    {
        json.WriteBoolean("equal", diff.IsEqual);
        json.WriteNumber("same", diff.Same);
        Side(json, "a", a, diff.HitsA);
        Side(json, "b", b, diff.HitsB);
        json.WriteStartArray("differences");
        foreach (HitDifference difference in diff.Differences)
        {
            json.WriteStartObject();
            switch (difference)
            {
                case HitDifference.OnlyInA only:
                    json.WriteString("kind", "only-in-a");
                    Hit(json, "a", only.Hit, a.Tracepoints, withPath: true);
                    break;
                case HitDifference.OnlyInB only:
                    json.WriteString("kind", "only-in-b");
                    Hit(json, "b", only.Hit, b.Tracepoints, withPath: true);
                    break;
                case HitDifference.OtherPath other:
                    json.WriteString("kind", "other-path");
                    Hit(json, "a", other.A, a.Tracepoints, withPath: false);
                    Hit(json, "b", other.B, b.Tracepoints, withPath: false);
                    Segments(json, other.Path, other.A.Path, other.B.Path);
                    break;
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    /// <summary>The comparison of two hits as one object without line feeds.</summary>
    public static byte[] Of(PathDiff diff, TraceQuery.PickedHit a, TraceQuery.PickedHit b) => Write(json =>
    {
        json.WriteBoolean("equal", diff.IsEqual);
        Hit(json, "a", a.Hit, a.Trace.Tracepoints, withPath: false, a.Trace.File);
        Hit(json, "b", b.Hit, b.Trace.Tracepoints, withPath: false, b.Trace.File);
        Segments(json, diff, a.Hit.Path, b.Hit.Path);
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

    private static void Side(Utf8JsonWriter json, string name, Trace trace, int hits)
    {
        json.WriteStartObject(name);
        json.WriteString("file", trace.File);
        json.WriteNumber("hits", hits);
        json.WriteBoolean("complete", trace.Incomplete is null);
        json.WriteString("release", trace.Header.Kernel.Release);
        json.WriteString("build_id", trace.Header.Kernel.BuildId);
        json.WriteEndObject();
    }

    private static void Hit(
        Utf8JsonWriter json, string name, TraceRecord.Hit hit, TracepointTable tracepoints, bool withPath, string? file = null)
    {
        json.WriteStartObject(name);
        if (file is not null)
        {
            json.WriteString("file", file);
        }

        json.WriteNumber("seq", hit.Sequence);
        json.WriteString("tracepoint", tracepoints.Name(hit.Tracepoint));
        json.WriteString("task", hit.Task?.Comm);
        if (withPath)
        {
            Frames(json, "path", hit.Path, (0, hit.Path.Frames.Length));
        }

        json.WriteEndObject();
    }

    private static void Segments(Utf8JsonWriter json, PathDiff diff, CallPath a, CallPath b)
    {
        json.WriteStartArray("path");
        foreach (PathDiff.Segment segment in diff.Segments)
        {
            json.WriteStartObject();
            if (segment.IsCommon)
            {
                Frames(json, "common", a, segment.A);
            }
            else
            {
                Frames(json, "a", a, segment.A);
                Frames(json, "b", b, segment.B);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Frames(Utf8JsonWriter json, string name, CallPath path, (int Start, int Count) part)
    {
        json.WriteStartArray(name);
        foreach (TraceFrame frame in path.Frames.AsSpan().Slice(part.Start, part.Count))
        {
            json.WriteStartObject();
            json.WriteString("function", frame.Function);
            if (frame.Module is not null)
            {
                json.WriteString("module", frame.Module);
            }

            if (frame.IsInline)
            {
                json.WriteBoolean("inline", true);
            }

            if (frame.IsTailCall)
            {
                json.WriteBoolean("tail_call", true);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
