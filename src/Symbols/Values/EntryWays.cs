// How a frame's function was entered from the frame that it returns to: by the call there, or by tail calls in between. That depends on the code alone, but for a call through a
// pointer, of which the debug information may say where the pointer is (DW_AT_call_target). What a call passed counts only for the function that it called: a pointer may lead
// to a small function that jumps on with other arguments.
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Kernel;

namespace KTrace.Symbols.Values;

/// <summary>A function between two frames.</summary>
/// <param name="Place">At its jump.</param>
/// <param name="LeadsOn">Its jump surely is the one by which the next inner function was entered.</param>
/// <param name="Site">What the jump passed.</param>
internal sealed record EntryStep(VariablePlace Place, bool LeadsOn, CallSiteParameters? Site);

/// <summary>The way from a call to the function that runs.</summary>
/// <param name="Tails">Functions that left by tail calls, innermost first.</param>
/// <param name="First">Where the function is entered that the call called, if it is one of the way.</param>
/// <param name="Site">What the call passed; null without debug information.</param>
/// <param name="Target">What the call calls, when that is written down; null for a call through a pointer.</param>
/// <param name="IsRepeated">A function of the way may have entered itself again.</param>
internal sealed record EntryWay(
    IReadOnlyList<EntryStep> Tails, ulong First, CallSiteParameters? Site, ulong? Target, bool IsRepeated)
{
    public static EntryWay Find(KernelMap map, Func<ulong, VariablePlace> placeAt, VariablePlace callee, ulong calleeAddress, ulong returnAddress)
    {
        var calls = map.Calls;
        var jumps = calls.Between(returnAddress, calleeAddress);
        var tails = new List<EntryStep>(jumps.Count);
        var entered = callee.Entry;
        var isRepeated = entered == 0 || calls.MayEnterItself(entered);
        for (var i = jumps.Count - 1; i >= 0; i--)
        {
            var jump = jumps[i];
            tails.Add(new EntryStep(placeAt(jump.LookupAddress), jump.Target == entered, SiteAt(map, jump.LookupAddress, jump.ReturnAddress, isTailCall: true, out _)));
            entered = jump.Function;
        }

        var site = SiteAt(map, returnAddress - 1, returnAddress, isTailCall: false, out var target);
        return new EntryWay(tails, entered, site, target, isRepeated);
    }

    private static CallSiteParameters? SiteAt(KernelMap map, ulong inside, ulong returnAddress, bool isTailCall, out ulong? target)
    {
        target = null;
        var part = map.Calls.At(inside);
        CallSiteParameters? found = null;
        try
        {
            if (part.Calls is not { } calls || !calls.TryFindFunction(part.ToObject(inside), out var function))
            {
                return null;
            }

            var wanted = part.ToObject(returnAddress);
            foreach (var site in calls.Of(in function).Sites)
            {
                if (site.ReturnAddress != wanted || site.IsTailCall != isTailCall)
                {
                    continue;
                }

                if (found is not null)
                {
                    // Two calls that the compiler made one: which of them it was cannot be told.
                    return null;
                }

                found = CallSiteParameters.Read(calls.UnitAt(function.Unit), site.Entry, map.Image.Architecture);
                target = map.Calls.Resolve(in part, in site);
            }
        }
        catch (MalformedFileException)
        {
            return null;
        }

        return found;
    }
}
