// The arguments of the function that was entered: where they are is found once for each function (EntryPlaces.cs), and a hit costs a few moves.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Values;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>Writes the arguments of functions that are being entered.</summary>
internal sealed class OwnArguments(KernelMap map, HitRecords names, FrameVariables variables, RecordScope scope, CompactWriter trace)
{
    // Where nothing that has a name can be: x86-64's direct map, vmalloc and vmemmap, below kernel and modules.
    private const ulong FirstUnnamed = 0xffff_8000_0000_0000;
    private const ulong FirstNamed = 0xffff_ffff_8000_0000;

    private static readonly PrintOptions Options = new() { MaximumLength = 120, MaximumDepth = 1, MaximumElements = 8, MaximumText = 80, FollowPointers = false };

    private readonly Dictionary<ulong, Plan> _plans = [];
    private readonly CompactValues _values = new();
    private readonly EntryPlaces _places = new(map, scope.Types, variables);
    private int _meanings;

    private sealed class Parameter(EntryPlace place)
    {
        public EntryPlace At { get; } = place;

        public FrameVariable Variable => At.Variable;

        public string Form { get; set; } = ValueForm.Unsigned;

        /// <summary>Values whose texts are what the form makes of them, or were written.</summary>
        public HashSet<ulong> Told { get; } = [];
    }

    private sealed record Plan(NonStopSite Site, TraceFrame Frame, Parameter[] Parameters);

    /// <summary>Code was loaded or freed: the kernel's own functions are what they were, but pointers may have names now.</summary>
    public void Forget()
    {
        foreach (var (entry, plan) in _plans)
        {
            if (plan.Site.Module is not null || plan.Site.IsInit)
            {
                _plans.Remove(entry);
            }
            else
            {
                Array.ForEach(plan.Parameters, p => p.Told.RemoveWhere(value => p.At.IsPointer && value >= FirstNamed));
            }
        }
    }

    /// <summary>The values of a record's function; empty when it has none, or they are not known.</summary>
    public ReadOnlySpan<byte> Of(RingRecord record, NonStopSite site)
    {
        // The parameters are written anew then, and their meanings after them.
        if (_meanings > TraceFormat.MaxMeanings - TraceFormat.MaxArguments)
        {
            _meanings = 0;
            _plans.Clear();
        }

        if (!_plans.TryGetValue(site.Entry, out var plan))
        {
            _plans[site.Entry] = plan = Make(site);
        }

        _values.Clear();
        for (var i = 0; i < plan.Parameters.Length; i++)
        {
            var parameter = plan.Parameters[i];
            if (!TryRead(parameter, record, out var value))
            {
                _values.AddUnknown();
                continue;
            }

            if (!parameter.At.IsPointer || scope.Architecture.WordSize == 4 || value < FirstUnnamed || value >= FirstNamed)
            {
                Tell(plan, i, value);
            }

            _values.Add(value, parameter.At.IsSigned);
        }

        return _values.Written;
    }

    private static bool TryRead(Parameter parameter, RingRecord record, out ulong value)
    {
        value = 0;
        switch (parameter.At.Kind)
        {
            case EntryPlaceKind.Register:
                value = record.Register(parameter.At.Place);
                break;
            case EntryPlaceKind.Constant:
                value = parameter.At.Constant;
                return true;
            case EntryPlaceKind.Stack:
                if (record.WindowCount == 0 || record.Window(0, out _, out _) is var window && window.Length < parameter.At.Place + 8)
                {
                    return false;
                }

                value = BinaryPrimitives.ReadUInt64LittleEndian(record.Window(0, out _, out _)[parameter.At.Place..]);
                break;
            default:
                return false;
        }

        var unused = 64 - (8 * parameter.At.Size);
        value = parameter.At.IsSigned ? (ulong)((long)(value << unused) >> unused) : value << unused >> unused;
        return true;
    }

    /// <summary>Writes what a value means where its form does not say it; once.</summary>
    private void Tell(Plan plan, int index, ulong value)
    {
        var parameter = plan.Parameters[index];
        if (!parameter.Told.Add(value))
        {
            return;
        }

        _meanings++;
        var text = Text(parameter, plan.Frame.Function, value);
        if (text != ValueForm.TextOf(parameter.Form, value))
        {
            trace.Meaning(plan.Frame, index, value, text);
        }
    }

    private string Text(Parameter parameter, string function, ulong value) =>
        ValuePrinter.Print(new NamedValue(parameter.Variable.Name, TypedValue.OfNumber(parameter.Variable.Type, value, Provenance.Register), function), scope, Options).Text;

    private Plan Make(NonStopSite site)
    {
        // The function itself comes last: what is inlined at its entry has not been entered.
        var frame = names.FramesOf(site.Entry, UnwindRule.Registers, null)[^1];
        if (_places.Of(site.Entry) is not { Length: <= TraceFormat.MaxArguments } places)
        {
            return new Plan(site, frame, []);
        }

        Parameter[] parameters = [.. places.Select(p => new Parameter(p))];
        foreach (var parameter in parameters)
        {
            parameter.Form = FormOf(parameter, frame.Function);
        }

        if (parameters.Length > 0)
        {
            trace.Parameters(frame, [.. parameters.Select(p => new TraceParameter(
                p.Variable.Name, p.Variable.Type.ToString(), p.Form, p.At.Kind switch
                {
                    EntryPlaceKind.Stack => ArgumentProvenance.Memory,
                    EntryPlaceKind.Constant => ArgumentProvenance.Constant,
                    _ => ArgumentProvenance.Register,
                }))]);
        }

        return new Plan(site, frame, parameters);
    }

    /// <summary>How most values of it read: asked with one that has no meaning of its own.</summary>
    private string FormOf(Parameter parameter, string function)
    {
        const ulong sample = 1_234_567_891;
        if (parameter.At.IsPointer)
        {
            return ValueForm.Pointer;
        }

        var value = parameter.At.Size < 8 ? sample & ((1ul << (8 * parameter.At.Size)) - 1) >> 1 : sample;
        return parameter.At.IsSigned ? ValueForm.Signed
            : parameter.At.Kind != EntryPlaceKind.Unknown && Text(parameter, function, value) == value.ToString("x", CultureInfo.InvariantCulture).Insert(0, "0x") ? ValueForm.Hexadecimal
            : ValueForm.Unsigned;
    }
}
