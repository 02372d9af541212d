using System.Collections.Immutable;
using System.Globalization;

namespace KTrace.Tracing;

/// <summary>Decodes the header and the objects in it. The cursor stands on the first property.</summary>
internal static class HeaderParts
{
    public static TraceRecord.Header Header(ref RecordJson json, HashSet<int> ids)
    {
        int? format = null;
        string? tool = null, arch = null, clock = null;
        var kernel = new TraceKernel(null, null, null);
        ulong? slide = null;
        int? hz = null;
        bool contexts = false;
        TraceBoot boot = TraceBoot.Empty;
        ImmutableArray<TraceTracepoint>.Builder tracepoints = ImmutableArray.CreateBuilder<TraceTracepoint>();
        while (json.NextProperty())
        {
            if (json.Is("format"u8))
            {
                format = json.Int32("format");
                if (format > TraceFormat.Version)
                {
                    // At once: what follows may look different in that format.
                    throw json.Fail(string.Create(
                        CultureInfo.InvariantCulture,
                        $"format {format} is newer than this ktrace reads ({TraceFormat.Version}): use the ktrace that wrote it, or a newer one"));
                }
            }
            else if (json.Is("tool"u8))
            {
                tool = json.String("tool");
            }
            else if (json.Is("arch"u8))
            {
                arch = json.String("arch");
            }
            else if (json.Is("clock"u8))
            {
                clock = json.String("clock");
            }
            else if (json.Is("hz"u8))
            {
                hz = json.Int32("hz");
            }
            else if (json.Is("contexts"u8))
            {
                contexts = json.Boolean("contexts");
            }
            else if (json.Is("slide"u8))
            {
                slide = json.Hex("slide");
            }
            else if (json.Is("boot"u8))
            {
                boot = TraceBoot.From(json.RawObject("boot"));
            }
            else if (json.Is("kernel"u8))
            {
                kernel = Kernel(ref json);
            }
            else if (json.Is("tracepoints"u8))
            {
                json.StartArray("tracepoints");
                while (json.NextElement())
                {
                    json.ElementObject("a tracepoint");
                    TraceTracepoint tracepoint = Tracepoint(ref json);
                    if (!ids.Add(tracepoint.Id))
                    {
                        throw json.Fail($"tracepoint {tracepoint.Id} is there twice");
                    }

                    tracepoints.Add(tracepoint);
                }
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceRecord.Header
        {
            Format = format is > 0 ? format.Value : throw json.Fail("a header without format"),
            Tool = tool ?? throw json.Fail("a header without tool"),
            Arch = arch ?? throw json.Fail("a header without arch"),
            Kernel = kernel,
            Slide = slide,
            Boot = boot,
            Tracepoints = tracepoints.DrainToImmutable(),
            Clock = clock ?? "jiffies",
            JiffiesPerSecond = hz,
            HasContexts = contexts,
        };
    }

    private static TraceKernel Kernel(ref RecordJson json)
    {
        json.StartObject("kernel");
        string? release = null, buildId = null, banner = null;
        while (json.NextProperty())
        {
            if (json.Is("release"u8))
            {
                release = json.OptionalString("release");
            }
            else if (json.Is("build_id"u8))
            {
                buildId = json.OptionalString("build_id");
            }
            else if (json.Is("banner"u8))
            {
                banner = json.OptionalString("banner");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceKernel(release, buildId, banner);
    }

    /// <summary>The cursor is before the first property: of an element of the header, or of a tracepoint record.</summary>
    public static TraceTracepoint Tracepoint(ref RecordJson json)
    {
        int? id = null;
        string? requested = null, symbol = null, state = null, note = null, way = null, why = null;
        ulong? address = null;
        int? functions = null;
        while (json.NextProperty())
        {
            if (json.Is("id"u8))
            {
                id = json.Int32("id");
            }
            else if (json.Is("requested"u8))
            {
                requested = json.String("requested");
            }
            else if (json.Is("symbol"u8))
            {
                symbol = json.OptionalString("symbol");
            }
            else if (json.Is("state"u8))
            {
                state = json.String("state");
            }
            else if (json.Is("note"u8))
            {
                note = json.OptionalString("note");
            }
            else if (json.Is("address"u8))
            {
                address = json.Hex("address");
            }
            else if (json.Is("way"u8))
            {
                way = json.OptionalString("way");
            }
            else if (json.Is("why"u8))
            {
                why = json.OptionalString("why");
            }
            else if (json.Is("functions"u8))
            {
                functions = json.Int32("functions");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceTracepoint(
            id ?? throw json.Fail("a tracepoint without id"),
            requested ?? throw json.Fail("a tracepoint without requested"),
            symbol,
            state ?? TracepointState.Armed,
            note,
            address)
        {
            Way = way,
            WayReason = why,
            Functions = functions,
        };
    }
}
