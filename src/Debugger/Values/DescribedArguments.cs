// Outer frames have the same arguments hit after hit, and inner ones pass the same objects around. A text depends on the value and on what was read behind it, so that it is good again
// where both are the same; comparing costs a tenth of printing.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using KTrace.Debugger.Memory;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.Values;

/// <summary>Arguments that were described before, each with what it takes to be described so again.</summary>
internal sealed class DescribedArguments(KernelMap map)
{
    private const int LargestValue = 16;
    private const int MaximumKept = 1 << 14;

    private readonly Dictionary<Key, (TraceArgument Argument, ReadTrail.Kept Trail)> _arguments = [];
    private readonly Dictionary<(string Name, CType Type, string Provenance), TraceArgument> _unknown = [];
    private readonly Dictionary<ImmutableArray<TraceArgument>, ArgumentList> _lists = new(SameArguments.Instance);
    private ImmutableArray<KernelModule> _modules = map.Modules;

    /// <summary>An argument without a value.</summary>
    public TraceArgument Unknown(FrameVariable variable)
    {
        var provenance = variable.Value is null ? ArgumentProvenance.OptimizedOut : ArgumentProvenance.Unreadable;
        if (!_unknown.TryGetValue((variable.Name, variable.Type, provenance), out var argument))
        {
            MakeRoom(_unknown);
            _unknown[(variable.Name, variable.Type, provenance)] = argument = new TraceArgument(variable.Name, variable.Type.ToString(), null, null, provenance);
        }

        return argument;
    }

    /// <summary>An argument whose value was described before, where memory behind it reads the same as then.</summary>
    /// <param name="function">Whose variable it is.</param>
    /// <param name="memory">Of this stop.</param>
    public TraceArgument? Find(FrameVariable variable, TypedValue value, string function, IMemoryReader memory)
    {
        if (_modules != map.Modules)
        {
            // Code was loaded or freed: addresses may have other names now.
            _arguments.Clear();
            _modules = map.Modules;
        }

        return Key.TryMake(variable, value, function, out var key) && _arguments.TryGetValue(key, out var known) && known.Trail.Holds(memory) ? known.Argument : null;
    }

    /// <param name="trail">What describing it read.</param>
    public void Keep(FrameVariable variable, TypedValue value, string function, TraceArgument argument, ReadTrail trail)
    {
        if (!Key.TryMake(variable, value, function, out var key) || trail.Keep() is not { } kept)
        {
            return;
        }

        MakeRoom(_arguments);
        _arguments[key] = (argument, kept);
    }

    /// <summary>The list of these very arguments. One that is met again need not be compared by content.</summary>
    public ArgumentList ListOf(TraceArgument[] arguments)
    {
        var key = ImmutableCollectionsMarshal.AsImmutableArray(arguments);
        if (_lists.TryGetValue(key, out var list))
        {
            return list;
        }

        MakeRoom(_lists);
        return _lists[key] = new ArgumentList(key);
    }

    private static void MakeRoom<TKey, TValue>(Dictionary<TKey, TValue> kept)
        where TKey : notnull
    {
        if (kept.Count >= MaximumKept)
        {
            kept.Clear();
        }
    }

    /// <summary>All that a text depends on but memory and names. Types are compared as objects: those of a variable are the same ones at every hit.</summary>
    private readonly record struct Key(string Name, string Function, CType Type, ulong? Address, UInt128 Bytes, int Length, Provenance Provenance, bool IsAtEntry)
    {
        public static bool TryMake(FrameVariable variable, TypedValue value, string function, out Key key)
        {
            key = default;
            if (value.Bytes.Length > LargestValue || value.Target is not null || value.BitSize != 0 || !ReferenceEquals(variable.Type, value.Type))
            {
                return false;
            }

            Span<byte> bytes = stackalloc byte[LargestValue];
            bytes.Clear();
            value.Bytes.Span.CopyTo(bytes);
            key = new Key(
                variable.Name, function, value.Type, value.Address, BinaryPrimitives.ReadUInt128LittleEndian(bytes), value.Bytes.Length, value.Provenance, variable.IsAtEntry);
            return true;
        }
    }

    private sealed class SameArguments : IEqualityComparer<ImmutableArray<TraceArgument>>
    {
        public static SameArguments Instance { get; } = new();

        public bool Equals(ImmutableArray<TraceArgument> one, ImmutableArray<TraceArgument> other)
        {
            if (one.Length != other.Length)
            {
                return false;
            }

            for (var i = 0; i < one.Length; i++)
            {
                if (!ReferenceEquals(one[i], other[i]))
                {
                    return false;
                }
            }

            return true;
        }

        public int GetHashCode([DisallowNull] ImmutableArray<TraceArgument> arguments)
        {
            var hash = arguments.Length;
            foreach (var argument in arguments)
            {
                hash = (hash * 31) + RuntimeHelpers.GetHashCode(argument);
            }

            return hash;
        }
    }
}
