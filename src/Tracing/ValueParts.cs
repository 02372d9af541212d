using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>Decodes lines of arguments, prints and returns. The cursor stands on the property's name, or at the line's start.</summary>
internal static class ValueParts
{
    private static readonly ImmutableArray<string> ProvenanceWords =
    [
        ArgumentProvenance.Register, ArgumentProvenance.Memory, ArgumentProvenance.Constant, ArgumentProvenance.EntryValue, ArgumentProvenance.Recovered,
        ArgumentProvenance.OptimizedOut, ArgumentProvenance.Unreadable,
    ];

    public static (int Id, ArgumentList Arguments) Values(ref RecordJson json)
    {
        int? id = null;
        ArgumentList? arguments = null;
        while (json.NextProperty())
        {
            if (json.Is("id"u8))
            {
                id = json.Int32("id");
            }
            else if (json.Is("args"u8))
            {
                json.StartArray("args");
                arguments = Arguments(ref json);
            }
            else
            {
                json.Skip();
            }
        }

        return id switch
        {
            null => throw json.Fail("values without id"),
            < 1 or > TraceFormat.MaxValues => throw json.Fail($"ids of values go from 1 to {TraceFormat.MaxValues}"),
            { } known => (known, arguments ?? throw json.Fail("values without args")),
        };
    }

    public static TraceRecord.Return Return(ref RecordJson json, CompactDecoder compact, out bool isCompact)
    {
        int? result = null;
        TraceArgument? value = null;
        isCompact = false;
        long? hit = null;
        int cpu = 0;
        TraceClock? clock = null;
        ulong? duration = null;
        int? depth = null;
        ImmutableArray<TracePrint> prints = [];
        while (json.NextProperty())
        {
            if (json.Is("hit"u8))
            {
                hit = json.Int64("hit");
            }
            else if (json.Is("cpu"u8))
            {
                cpu = json.Int32("cpu");
            }
            else if (json.Is("clock"u8))
            {
                clock = HitParts.Clock(ref json);
            }
            else if (json.Is("t"u8))
            {
                isCompact = true;
                clock = new TraceClock(Ticks: json.UInt64("t")) { Rate = compact.Rate };
            }
            else if (json.Is("result"u8))
            {
                result = json.Int32("result");
            }
            else if (json.Is("ret"u8))
            {
                json.Read();
                value = CompactDecoder.Value(ref json);
            }
            else if (json.Is("duration"u8))
            {
                duration = json.UInt64("duration");
            }
            else if (json.Is("depth"u8))
            {
                depth = json.Int32("depth");
            }
            else if (json.Is("prints"u8))
            {
                prints = Prints(ref json);
            }
            else
            {
                json.Skip();
            }
        }

        if (result is { } id)
        {
            prints = [compact.Returned(ref json, id, value ?? throw json.Fail("a result without ret"))];
        }

        return new TraceRecord.Return
        {
            HitSequence = hit ?? throw json.Fail("a return without hit"), Cpu = cpu, Clock = clock, Prints = prints, Duration = duration, Depth = depth,
        };
    }

    public static ImmutableArray<TracePrint> Prints(ref RecordJson json)
    {
        json.StartArray("prints");
        ImmutableArray<TracePrint>.Builder prints = ImmutableArray.CreateBuilder<TracePrint>();
        while (json.NextElement())
        {
            json.ElementObject("a print");
            if (prints.Count == TraceFormat.MaxArguments)
            {
                throw json.Fail($"more than {TraceFormat.MaxArguments} prints");
            }

            string? expression = null, type = null, text = null, error = null;
            ulong? value = null;
            while (json.NextProperty())
            {
                if (json.Is("expression"u8))
                {
                    expression = json.OptionalString("expression");
                }
                else if (json.Is("type"u8))
                {
                    type = json.OptionalString("type");
                }
                else if (json.Is("value"u8))
                {
                    value = json.Hex("value");
                }
                else if (json.Is("text"u8))
                {
                    text = json.OptionalString("text");
                }
                else if (json.Is("error"u8))
                {
                    error = json.OptionalString("error");
                }
                else
                {
                    json.Skip();
                }
            }

            prints.Add(new TracePrint(expression ?? throw json.Fail("a print without expression"), type, value, text, error));
        }

        return prints.DrainToImmutable();
    }

    private static ArgumentList Arguments(ref RecordJson json)
    {
        ImmutableArray<TraceArgument>.Builder arguments = ImmutableArray.CreateBuilder<TraceArgument>();
        while (json.NextElement())
        {
            json.ElementObject("an argument");
            if (arguments.Count == TraceFormat.MaxArguments)
            {
                throw json.Fail($"more than {TraceFormat.MaxArguments} arguments");
            }

            string? name = null, type = null, text = null;
            string from = ArgumentProvenance.Register;
            ulong? value = null;
            bool atEntry = false;
            while (json.NextProperty())
            {
                if (json.Is("name"u8))
                {
                    name = json.OptionalString("name");
                }
                else if (json.Is("type"u8))
                {
                    type = json.OptionalString("type");
                }
                else if (json.Is("value"u8))
                {
                    value = json.Hex("value");
                }
                else if (json.Is("text"u8))
                {
                    text = json.OptionalString("text");
                }
                else if (json.Is("from"u8))
                {
                    from = json.String("from", ProvenanceWords);
                }
                else if (json.Is("at_entry"u8))
                {
                    atEntry = json.Boolean("at_entry");
                }
                else
                {
                    json.Skip();
                }
            }

            arguments.Add(new TraceArgument(name ?? throw json.Fail("an argument without name"), type, value, text, from, atEntry));
        }

        return new ArgumentList(arguments.DrainToImmutable());
    }
}
